"""Images that the ledger knows and the store has lost: their items go round again."""

import threading
from collections import Counter

from configs.item import Item
from storage.artefacts import ArtefactStore
from storage.ledger import Ledger
from storage.records import ArtefactRecord

MAX_ROUNDS = 2  # a store that loses images faster than they are made is broken


class Losses:
    """Collects items whose image turned out to be missing or damaged. Safe to share between threads."""

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._artefacts: dict[str, ArtefactRecord] = {}
        self._damaged: set[str] = set()  # keys
        self._rounds: Counter[int] = Counter()
        self._lock = threading.Lock()

    def add(self, item: Item, artefact: ArtefactRecord, *, damaged: bool = False) -> None:
        with self._lock:
            self._items[item.index] = item
            self._artefacts[artefact.fingerprint] = artefact
            if damaged:
                self._damaged.add(artefact.key)

    def take(self, store: ArtefactStore, ledger: Ledger) -> tuple[list[Item], list[Item], list[str]]:
        """Makes ledger and store forget the lost images; to be called when nothing waits to be recorded any more.

        Returns the items to walk again from the start, those that were lost too often, and the fingerprints.
        """
        with self._lock:
            items, artefacts, damaged = self._items, self._artefacts, self._damaged
            self._items, self._artefacts, self._damaged = {}, {}, set()
        for key in damaged:
            store.delete(key)
        if artefacts:
            ledger.forget_artefacts(store.root, list(artefacts))
        again: list[Item] = []
        given_up: list[Item] = []
        for index, item in sorted(items.items()):
            self._rounds[index] += 1
            (again if self._rounds[index] <= MAX_ROUNDS else given_up).append(item)
        return again, given_up, list(artefacts)
