"""Which items a retry concerns, as commands and forms name them."""

from collections.abc import Mapping
from typing import Literal

from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState

Retried = Literal["both", "failed", "quarantined", "rejected"]
_STATES: Mapping[Retried, tuple[ItemState, ...]] = {
    "both": (ItemState.FAILED, ItemState.QUARANTINED),
    "failed": (ItemState.FAILED,),
    "quarantined": (ItemState.QUARANTINED,),
}


def retry_items(job_id: str, which: Retried, ledger: Ledger) -> int:
    """Makes these items pending. What a person has rejected is retried only where `rejected` asks for just that."""
    if which == "rejected":
        return ledger.release_rejected(job_id)
    return ledger.retry_items(job_id, _STATES[which])
