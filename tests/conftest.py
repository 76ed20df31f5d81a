"""Fixtures for all tests, and which of them are end-to-end tests."""

from collections.abc import Iterable

import pytest

pytest_plugins = ["tests.prefect_server"]

SERVERS = {"rclone", "moto", "postgres"}


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """A test that needs a server process is an end-to-end test, also where only some of its parameters need one."""
    for item in items:
        chosen = getattr(item, "callspec", None)
        parameters = {value for value in chosen.params.values() if isinstance(value, str)} if chosen else set()
        fixtures = {name.partition("_")[0] for name in getattr(item, "fixturenames", ()) if name.endswith("_server")}
        if SERVERS & (parameters | fixtures):
            item.add_marker(pytest.mark.e2e)
