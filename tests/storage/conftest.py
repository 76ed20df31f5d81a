"""Stores and databases: one server a session, a fresh prefix or database a test."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from configs.settings.settings import Settings
from storage.ledger.ledger import Ledger
from storage.objects.artefacts import ArtefactStore
from storage.objects.open_store import open_store
from tests.support.new_ledger import new_ledger
from tests.support.servers.postgres import postgres_server
from tests.support.servers.s3 import S3Server, moto_s3


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    with moto_s3() as server:
        yield server


SQLITE = "sqlite:///"

OpenS3 = Callable[..., ArtefactStore]


def _opener(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> OpenS3:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    prefix = uuid.uuid4().hex

    def opened(bucket: str = server.bucket, **changes: object) -> ArtefactStore:
        return open_store(f"s3://{bucket}/{prefix}", server.settings(**changes))

    return opened


@pytest.fixture
def open_moto(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> OpenS3:
    """Opens stores of one fresh prefix."""
    return _opener(moto_server, monkeypatch)


@pytest.fixture
def open_rclone(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> OpenS3:
    return _opener(rclone_server, monkeypatch)


@pytest.fixture(params=["folder", "rclone", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ArtefactStore:
    """Every implementation of the contract, empty."""
    if request.param == "folder":
        return open_store(tmp_path / "store", Settings())
    opened: OpenS3 = request.getfixturevalue(f"open_{request.param}")
    return opened()


@pytest.fixture(scope="session")
def postgres_admin_url() -> Iterator[str]:
    try:
        with postgres_server() as url:
            yield url
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_admin_url: str) -> Iterator[str]:
    """An empty database, dropped afterwards."""
    name = f"ledger_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_admin_url, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        yield postgres_admin_url.rpartition("/")[0] + f"/{name}"
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Every kind of database, fresh."""
    if request.param == "sqlite":
        return f"{SQLITE}{tmp_path}/new/ledger.db"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    opened = new_ledger(Path(ledger_url.removeprefix(SQLITE))) if ledger_url.startswith(SQLITE) else Ledger(ledger_url)
    yield opened
    opened.close()
