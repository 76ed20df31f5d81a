"""State is for its owner alone, whatever the umask is."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.catalogues.models import DigestCache
from configs.settings.privacy import own_folder, private_file, private_folder
from storage.ledger.ledger import Ledger


@pytest.fixture(autouse=True)
def generous() -> Iterator[None]:
    """A umask that keeps nothing from anybody."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_what_is_made_is_private_and_what_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir(mode=0o755)
    private_folder(tmp_path / "shared/home/inner")
    assert [rights(tmp_path / path) for path in ("shared", "shared/home", "shared/home/inner")] == [0o755, 0o700, 0o700]
    (tmp_path / "file").touch(mode=0o664)
    private_file(tmp_path / "file")
    private_file(tmp_path / "other")
    assert (rights(tmp_path / "file"), rights(tmp_path / "other")) == (0o664, 0o600)


def test_folders_of_ours_alone_are_closed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir(mode=0o775)
    assert rights(own_folder(tmp_path / "logs")) == 0o700


def test_the_ledger_and_the_digests_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    ledger.jobs.all()
    (tmp_path / "weights").write_bytes(b"x")
    DigestCache(home / "digests.json").digest(tmp_path / "weights")
    assert rights(home) == 0o700
    files = {path.name: rights(path) for path in home.iterdir()}
    assert {"ledger.db", "digests.json"} <= files.keys()
    assert set(files.values()) == {0o600}
    ledger.close()


def test_a_ledger_that_is_shared_stays_shared(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").touch(mode=0o660)
    Ledger(f"sqlite:///{tmp_path / 'ledger.db'}").close()
    assert rights(tmp_path / "ledger.db") == 0o660
