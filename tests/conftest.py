"""Fixtures for all tests."""

pytest_plugins = ["tests.prefect_server"]
