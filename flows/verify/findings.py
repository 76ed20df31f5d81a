"""Findings of a verification, and reading objects and the manifest back from the store to find them."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from io import BytesIO
from typing import Any, Self

from configs.failures import PixelmillError
from storage.images.manifest import flat_row, manifest_keys
from storage.ledger.records import ArtefactRecord, JobRecord
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject

LISTED = 20  # findings of each kind; the others are only counted
READERS = 8  # the store keeps as many connections beside those of the writers

Row = dict[str, Any]


class Kind(StrEnum):
    """The kinds of findings, in the order in which they are reported, and the words for their number."""

    words: str

    def __new__(cls, value: str, words: str) -> Self:
        kind = str.__new__(cls, value)
        kind._value_, kind.words = value, words
        return kind

    MISSING_ARTEFACT = "missing_artefact", "artefacts missing from the store"
    DAMAGED_ARTEFACT = "damaged_artefact", "artefacts damaged"  # their bytes are not those that were stored
    MISSING_FINAL = "missing_final", "finals missing from the store"
    DAMAGED_FINAL = "damaged_final", "finals damaged"  # their bytes are not those of their artefacts
    STRAY_FINAL = "stray_final", "finals of no item that is done"
    MISSING_OUTCOME = "missing_outcome", "done items without the outcome of a step"
    UNKNOWN_ARTEFACT = "unknown_artefact", "done items with an artefact that the ledger has lost"
    NO_FINAL = "no_final", "done items without their finals in the ledger"
    MISSING_ITEM = "missing_item", "items missing from the ledger"
    WRONG_STATUS = "wrong_status", "status of the job wrong"  # it does not fit the states of the items
    MANIFEST = "manifest", "differences between manifest and ledger"
    REPORT = "report", "report missing, or of another state"
    GALLERY = "gallery", "files of the gallery missing or damaged"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: the name of the first item and the key of the object that it concerns."""

    kind: Kind
    message: str
    item: str | None = None
    key: str | None = None


class Fault(Enum):
    """A reason why an object cannot be used."""

    MISSING = auto()
    DAMAGED = auto()


@dataclass(slots=True)
class Damage:
    """Input of a repair. Grows with the number of problems, not with the job."""

    artefacts: dict[str, tuple[ArtefactRecord, Fault]] = field(default_factory=dict)  # lost ones, by fingerprint
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

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.counts[finding.kind] += 1
            if self.counts[finding.kind] <= LISTED:
                self.listed.append(finding)
            if finding.kind is Kind.STRAY_FINAL and finding.key is not None:
                self.damage.stray.append(finding.key)

    @property
    def total(self) -> int:
        return self.counts.total()


class ReadBack:
    """Reader of objects, several at once and each once. Takes some 150 bytes for each key; `close` it."""

    def __init__(self, store: ArtefactStore) -> None:
        self._store = store
        self._faults: dict[str, Fault | None] = {}  # of all keys that were read
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-verify")
        self.objects = 0
        self.bytes = 0

    def read(self, digests: Mapping[str, str]) -> dict[str, Fault]:
        """Read the keys that were not read before, check their SHA-256, and return the faults of all keys.

        Raises StoreError where the store refuses or fails.
        """
        new = [key for key in digests if key not in self._faults]
        for key, (fault, size) in zip(new, self._pool.map(lambda key: self._look(key, digests[key]), new), strict=True):
            self._faults[key] = fault
            self.objects += 1
            self.bytes += size
        return {key: fault for key in digests if (fault := self._faults[key]) is not None}

    def _look(self, key: str, sha256: str) -> tuple[Fault | None, int]:
        try:
            return None, len(self._store.get(key, sha256=sha256))
        except MissingObject:
            return Fault.MISSING, 0
        except DamagedObject:
            return Fault.DAMAGED, 0

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


# -- the manifest ------------------------------------------------------------------------------------------------------


class UnreadableManifest(PixelmillError):
    """The file is not a manifest."""


class ManifestFile:
    """One file of the manifest, read in step with the ledger. If it cannot be read, that is its only finding."""

    def __init__(
        self, key: str, read: Callable[[bytes], Iterator[Row]], form: Callable[[Row], Row], store: ArtefactStore
    ) -> None:
        self._key, self._form = key, form
        self._error: str | None = None
        self._reported = False
        self._rows = self._read(read, store)
        self._next = next(self._rows, None)

    def compare(self, row: Row) -> Iterator[Finding]:
        """Yield the findings up to the row of this item, in the job's order."""
        index, name = row["index"], row["name"]
        while self._next is not None and self._next["index"] < index:
            yield self._surplus(self._next, f"where that of item {index} should be")
            self._next = next(self._rows, None)
        if self._error is not None:
            yield from self._report_error()
        elif self._next is None or self._next["index"] > index:
            yield self._finding("the item has no row", name)
        else:
            expected = self._form(row)
            if "warnings" not in self._next:  # of an earlier version
                del expected["warnings"]
            if expected != self._next:
                yield self._finding(_difference(self._next, expected), name)
            self._next = next(self._rows, None)

    def finish(self) -> Iterator[Finding]:
        """Yield a finding for each row after the last item's."""
        while self._next is not None:
            yield self._surplus(self._next, "after the last one")
            self._next = next(self._rows, None)
        if self._error is not None:
            yield from self._report_error()

    def _read(self, read: Callable[[bytes], Iterator[Row]], store: ArtefactStore) -> Iterator[Row]:
        try:
            yield from read(store.get(self._key))
        except MissingObject:
            self._error = "it is not there"
        except DamagedObject as error:
            self._error = str(error)
        except UnreadableManifest as error:
            self._error = f"it cannot be read: {error}"

    def _report_error(self) -> Iterator[Finding]:
        if not self._reported:
            self._reported = True
            yield self._finding(str(self._error), None)

    def _surplus(self, row: Row, where: str) -> Finding:
        return self._finding(f"a row of item {row['index']} {where}", str(row.get("name")))

    def _finding(self, message: str, item: str | None) -> Finding:
        return Finding(Kind.MANIFEST, f"{self._key}: {message}", item, self._key)


def manifest_files(job: JobRecord, store: ArtefactStore) -> tuple[ManifestFile, ...]:
    """Return both files of the job's manifest, to be compared with the ledger."""
    keys = manifest_keys(job.name)
    return (
        ManifestFile(keys.jsonl, _jsonl_rows, dict, store),
        ManifestFile(keys.parquet, _parquet_rows, flat_row, store),
    )


def _difference(row: Row, expected: Row) -> str:
    names = [name for name in {**expected, **row} if row.get(name) != expected.get(name)]
    if "state" in names:
        return f"the item is {row.get('state')!r} there, and {expected['state']!r} in the ledger"
    return f"other {', '.join(names)} than in the ledger"


def _jsonl_rows(data: bytes) -> Iterator[Row]:
    for number, line in enumerate(BytesIO(data), start=1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UnreadableManifest(f"line {number}: {error}") from None
        yield _checked(row, f"line {number}")


def _parquet_rows(data: bytes) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        for batch in pq.ParquetFile(BytesIO(data)).iter_batches(batch_size=500):
            for row in batch.to_pylist():
                yield _checked(row, "a row")
    except (pa.ArrowException, OSError) as error:
        raise UnreadableManifest(str(error)) from None


def _checked(row: Any, label: str) -> Row:
    if not isinstance(row, dict) or not isinstance(row.get("index"), int):
        raise UnreadableManifest(f"{label} does not belong to an item")
    steps = row.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return row
    # A row of an earlier version lacks the costs: 0, as in its ledger.
    return {**row, "steps": [{"cost": 0.0, **step} for step in steps]}
