"""Artefacts in folders or S3, the ledger in SQL, image encoding and metadata."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from storage.inputs.sources import read_uri
    from storage.ledger.lease import job_lease
    from storage.ledger.ledger import Ledger
    from storage.objects.artefacts import ArtefactStore
    from storage.objects.open_store import open_store

_HOMES = {
    "ArtefactStore": "storage.objects.artefacts",
    "Ledger": "storage.ledger.ledger",
    "job_lease": "storage.ledger.lease",
    "open_store": "storage.objects.open_store",
    "read_uri": "storage.inputs.sources",
}
__all__ = ["ArtefactStore", "Ledger", "job_lease", "open_store", "read_uri"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: `import storage` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
