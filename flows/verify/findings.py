"""Findings of a verification, and reading objects back from the store."""

from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from types import TracebackType
from typing import NamedTuple, Self

from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject

LISTED = 20  # findings of each kind; the others are only counted


class Kind(StrEnum):
    """The kinds of findings, in the order in which they are reported."""

    MISSING_ARTEFACT = "missing_artefact"  # a step's image is not in the store
    DAMAGED_ARTEFACT = "damaged_artefact"  # its bytes are not those that were stored
    MISSING_FINAL = "missing_final"
    DAMAGED_FINAL = "damaged_final"  # its bytes are not those of its artefact
    STRAY_FINAL = "stray_final"  # a final that belongs to no item, or to one that failed
    MISSING_OUTCOME = "missing_outcome"  # a done item has no outcome of a step in the ledger
    UNKNOWN_ARTEFACT = "unknown_artefact"  # the ledger has the fingerprint of an image and nothing else
    NO_FINAL = "no_final"  # the item is done, but the ledger's finals are not those it should have
    MISSING_ITEM = "missing_item"  # the ledger has fewer items than the job
    WRONG_STATUS = "wrong_status"  # the status of the job does not fit the states of its items
    MANIFEST = "manifest"  # it differs from the ledger
    REPORT = "report"  # it differs from the ledger
    GALLERY = "gallery"  # one of its files is missing or damaged


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: the name of the first item and the key of the object that it concerns."""

    kind: Kind
    message: str
    item: str | None = None
    key: str | None = None


class LostArtefact(NamedTuple):
    """An image in the ledger that is missing or damaged in the store."""

    record: ArtefactRecord
    damaged: bool


@dataclass(slots=True)
class Damage:
    """Input of a repair. Grows with the number of problems, not with the job."""

    artefacts: dict[str, LostArtefact] = field(default_factory=dict)  # by fingerprint
    items: dict[int, set[str]] = field(default_factory=dict)  # item -> fingerprints of lost artefacts that it visited
    incomplete: set[int] = field(default_factory=set)  # done items that lack something in the ledger
    finals: dict[str, ArtefactRecord] = field(default_factory=dict)  # key of a missing or damaged final -> its image
    copies: dict[str, str] = field(default_factory=dict)  # fingerprint of a lost artefact -> key of a sound final of it
    stray: list[str] = field(default_factory=list)  # keys


@dataclass(slots=True)
class Findings:
    """Count of all findings, and the first of each kind."""

    counts: Counter[Kind] = field(default_factory=Counter)
    listed: list[Finding] = field(default_factory=list)
    damage: Damage = field(default_factory=Damage)

    def add(self, finding: Finding) -> None:
        self.counts[finding.kind] += 1
        if self.counts[finding.kind] <= LISTED:
            self.listed.append(finding)

    @property
    def total(self) -> int:
        return self.counts.total()


READERS = 8  # the store keeps as many connections beside those of the writers


class Fault(Enum):
    """A reason why an object cannot be used."""

    MISSING = auto()
    DAMAGED = auto()


class ReadBack:
    """Reader of objects, several at once and each once. Takes some 150 bytes for each key; use as a context manager."""

    def __init__(self, store: ArtefactStore) -> None:
        self._store = store
        self._seen: set[str] = set()
        self._faults: dict[str, Fault] = {}
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-verify")
        self.objects = 0
        self.bytes = 0

    def read(self, digests: Mapping[str, str]) -> dict[str, Fault]:
        """Read the keys that were not read before, check their SHA-256, and return the faults of all keys.

        Raises StoreError where the store refuses or fails.
        """
        new = [key for key in digests if key not in self._seen]
        for key, (fault, size) in zip(new, self._pool.map(lambda key: self._look(key, digests[key]), new), strict=True):
            self._seen.add(key)
            self.objects += 1
            self.bytes += size
            if fault is not None:
                self._faults[key] = fault
        return {key: self._faults[key] for key in digests if key in self._faults}

    def _look(self, key: str, sha256: str) -> tuple[Fault | None, int]:
        try:
            return None, len(self._store.get(key, sha256=sha256))
        except MissingObject:
            return Fault.MISSING, 0
        except DamagedObject:
            return Fault.DAMAGED, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
