"""Images that the ledger knows and the store has lost: their items go round again."""

import threading
from collections import Counter, defaultdict

from configs.documents.fields import Item
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import ArtefactStore

MAX_TIMES = 2  # that an image may be lost; a store that loses what has just been made again is broken


class Losses:
    """Collects items whose image turned out to be missing or damaged. Safe to share between threads.

    An item goes round as often as it takes: where a whole folder is gone, each round finds one image lost that the
    round before would have needed.
    """

    def __init__(self) -> None:
        self._items: dict[int, Item] = {}
        self._of_items: defaultdict[int, set[str]] = defaultdict(set)  # index -> fingerprints
        self._artefacts: dict[str, ArtefactRecord] = {}
        self._damaged: set[str] = set()  # keys
        self._times: Counter[str] = Counter()  # by fingerprint
        self._lock = threading.Lock()

    def add(self, item: Item, artefact: ArtefactRecord, *, damaged: bool = False) -> None:
        with self._lock:
            self._items[item.index] = item
            self._of_items[item.index].add(artefact.fingerprint)
            self._artefacts[artefact.fingerprint] = artefact
            if damaged:
                self._damaged.add(artefact.key)

    def take(self, store: ArtefactStore, ledger: Ledger) -> tuple[list[Item], list[Item], list[str]]:
        """Makes ledger and store forget the lost images; to be called when nothing waits to be recorded any more.

        Returns the items to walk again from the start, those of which an image was lost too often, and the
        fingerprints.
        """
        with self._lock:
            items, of_items, artefacts, damaged = self._items, self._of_items, self._artefacts, self._damaged
            self._items, self._of_items, self._artefacts, self._damaged = {}, defaultdict(set), {}, set()
        for key in damaged:
            store.delete(key)
        if artefacts:
            ledger.forget_artefacts(store.root, list(artefacts))
        self._times.update(artefacts.keys())
        again: list[Item] = []
        given_up: list[Item] = []
        for index, item in sorted(items.items()):
            too_often = any(self._times[fingerprint] > MAX_TIMES for fingerprint in of_items[index])
            (given_up if too_often else again).append(item)
        return again, given_up, list(artefacts)
