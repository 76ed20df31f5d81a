"""A real Prefect server for the tests, one a session."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings.settings import Settings
from tests.support.servers.prefect_database import give_prefect_database


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API's URL. Nothing points to it by itself: a test that wants that takes `prefect_api`."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    from flows.prefect_api.server import local_server

    home: Path = tmp_path_factory.mktemp("prefect-server")
    give_prefect_database(home)
    with temporary_settings(restore_defaults={PREFECT_API_URL}), local_server(Settings(home=home)) as url:
        yield url


@pytest.fixture
def prefect_api(prefect_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The API's URL, set for this process and for those that a test starts."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    monkeypatch.setenv("DO_NOT_TRACK", "1")
    with temporary_settings({PREFECT_API_URL: prefect_server}):
        yield prefect_server


@pytest.fixture
def without_api(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No API is configured, neither in the environment nor in a profile."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("profile")))
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield
