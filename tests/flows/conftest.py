"""Stores for the tests of flows: a folder, and a bucket of a real server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings import Settings
from storage.artefacts import ArtefactStore
from storage.folder_store import FolderStore
from storage.open_store import open_store
from tests.flows.verified_job import IconJob
from tests.storage.servers import S3Server, rclone_s3


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[S3Server]:
    with rclone_s3() as server:
        yield server


@pytest.fixture(params=["folder", "rclone"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtefactStore:
    """Each kind of store, empty."""
    if request.param == "folder":
        return open_store(tmp_path / "out", Settings())
    server: S3Server = request.getfixturevalue("rclone_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{server.bucket}/{uuid.uuid4().hex}", server.settings())


@pytest.fixture
def icons(tmp_path: Path, store: ArtefactStore) -> IconJob:
    """A finished job in each kind of store."""
    job = IconJob(tmp_path, store)
    job.run()
    return job


@pytest.fixture
def local_icons(tmp_path: Path) -> IconJob:
    """Likewise, in a folder: for what the ledger and the job's files may have wrong."""
    job = IconJob(tmp_path, FolderStore(tmp_path / "out"))
    job.run()
    return job
