"""Fixtures for all tests; the hooks are in tests/plugins."""

import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from storage.ledger.ledger import Ledger
from tests.support.new_ledger import new_ledger
from tests.support.null.recipes import null_steps_known
from tests.support.servers.s3 import S3Server, rclone_s3

pytest_plugins = ["tests.plugins.parts", "tests.plugins.heap", "tests.support.servers.prefect_server"]

# A machine that does other things as well would miss any deadline now and then.
hypothesis.settings.register_profile("without deadlines", deadline=None, max_examples=50)
hypothesis.settings.load_profile("without deadlines")


# What a shell starts in the background ignores Ctrl-C, and so would everything that tests start from there.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def null_steps() -> Iterator[None]:
    """Steps that compute next to nothing are in the catalogue."""
    with null_steps_known():
        yield


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger in a file."""
    ledger = new_ledger(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[S3Server]:
    with rclone_s3() as server:
        yield server
