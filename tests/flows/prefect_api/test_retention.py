"""What the server of `pixelmill up` deletes by itself."""

import pytest

from configs.settings.settings import Settings
from flows.prefect_api.server import retention

ENABLED = "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED"
PERIOD = "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD"


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ENABLED, PERIOD):
        monkeypatch.delenv(name, raising=False)


def test_flow_runs_are_kept_for_three_months() -> None:
    assert retention(Settings(), ui=True) == {ENABLED: "events,flow_runs", PERIOD: str(90 * 24 * 3600)}


def test_zero_days_keep_them_for_ever_and_a_command_s_own_server_deletes_none() -> None:
    assert retention(Settings(history_days=0), ui=True)[ENABLED] == "events"
    assert retention(Settings(), ui=False)[ENABLED] == "events"


def test_what_the_operator_sets_for_prefect_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENABLED, "events")
    assert retention(Settings(), ui=True)[ENABLED] == "events"
