"""Stores for the tests of flows: a folder, and a bucket of a real server."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from configs.settings.settings import Settings
from storage.objects.artefacts import ArtefactStore
from storage.objects.folder_store import FolderStore
from storage.objects.open_store import open_store
from tests.support.browser import find_chromium, open_browser, open_page
from tests.support.jobs.job_template import JobTemplate
from tests.support.jobs.refused_job import refused_icons
from tests.support.jobs.verified_job import IconJob, icons_in
from tests.support.servers.s3 import S3Server


@pytest.fixture(params=["folder", "rclone"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ArtefactStore:
    """Each kind of store, empty."""
    if request.param == "folder":
        return open_store(tmp_path / "out", Settings())
    server: S3Server = request.getfixturevalue("rclone_server")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{server.bucket}/{uuid.uuid4().hex}", server.settings())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """For one module only: see tests/support/browser.py for what may not run beside it."""
    chromium = find_chromium()
    if chromium is None:
        pytest.skip("no Chromium on the PATH: pages were not tried in a browser")
    with open_browser(chromium) as opened:
        yield opened


@pytest.fixture
def errors() -> list[str]:
    """Errors of the page's scripts and files, as they come. A test that expects some clears it."""
    return []


@pytest.fixture
def page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """A new tab. Fails the test if a script of the page threw, or a file was refused or missing."""
    with open_page(browser, errors) as page:
        yield page
    assert not errors


@pytest.fixture(scope="session")
def icon_template(tmp_path_factory: pytest.TempPathFactory) -> JobTemplate[IconJob]:
    return JobTemplate(tmp_path_factory.mktemp("icons"), icons_in, IconJob.run)


@pytest.fixture
def local_icons(icon_template: JobTemplate[IconJob]) -> Iterator[IconJob]:
    """A finished job in a folder: for what the ledger and the job's files may have wrong."""
    with icon_template.as_new() as job:
        yield job


@pytest.fixture
def icons(request: pytest.FixtureRequest, tmp_path: Path, store: ArtefactStore) -> IconJob:
    """Likewise, in each kind of store."""
    if isinstance(store, FolderStore):
        made: IconJob = request.getfixturevalue("local_icons")
        return made
    job = IconJob(tmp_path, store)
    job.run()
    return job


@pytest.fixture(scope="session")
def refused_template(tmp_path_factory: pytest.TempPathFactory) -> JobTemplate[IconJob]:
    return JobTemplate(tmp_path_factory.mktemp("refused"), refused_icons, IconJob.run)


@pytest.fixture
def refused(refused_template: JobTemplate[IconJob]) -> Iterator[IconJob]:
    """A job of which `first`, `twin` and `cut` wait for a decision."""
    with refused_template.as_new() as job:
        yield job
