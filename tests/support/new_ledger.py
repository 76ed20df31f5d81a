"""New ledgers whose tables are copied: to make them by the migrations costs more than most tests."""

import tempfile
from functools import cache
from pathlib import Path

from storage.ledger.ledger import Ledger


@cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        Ledger(f"sqlite:///{file}").close()
        return file.read_bytes()


def new_ledger(file: Path) -> Ledger:
    """Opens the ledger in this file, a new one where there is none; as private as one that makes its own tables."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_bytes(_empty())
    return Ledger(f"sqlite:///{file}")
