"""Compare the manifest in the store with the ledger: every item exactly once, with the same row."""

import json
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

from configs.reporting import PixelmillError
from flows.verify.findings import Finding, Kind
from storage.images.manifest import flat_row, manifest_keys, manifest_row
from storage.ledger.records import ItemReport, JobRecord
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject

Row = dict[str, Any]


class UnreadableManifest(PixelmillError):
    """The file is not a manifest."""


class ManifestCheck:
    """Comparison of both files of the manifest with the ledger's reports, in the job's order."""

    def __init__(self, store: ArtefactStore, job: JobRecord) -> None:
        self._store = store
        keys = manifest_keys(job.name)
        self._files = [
            _ManifestFile(keys.jsonl, _jsonl_rows, lambda row: row, store),
            _ManifestFile(keys.parquet, _parquet_rows, flat_row, store),
        ]

    def compare(self, report: ItemReport) -> Iterator[Finding]:
        """Yield the findings up to this item's row."""
        row = manifest_row(self._store, report)
        for file in self._files:
            yield from file.compare(row)

    def finish(self) -> Iterator[Finding]:
        """Yield a finding for each row after the last item's."""
        for file in self._files:
            yield from file.finish()


class _ManifestFile:
    """One file, read in step with the ledger. If it cannot be read, that is its only finding."""

    def __init__(
        self, key: str, read: Callable[[bytes], Iterator[Row]], form: Callable[[Row], Row], store: ArtefactStore
    ) -> None:
        self._key, self._form = key, form
        self._error: str | None = None
        self._reported = False
        self._rows: Iterator[Row] = iter(())
        try:
            self._rows = read(store.get(key))
        except MissingObject:
            self._error = "it is not there"
        except DamagedObject as error:
            self._error = str(error)
        self._next = self._advance()

    def compare(self, row: Row) -> Iterator[Finding]:
        index, name = row["index"], row["name"]
        while self._next is not None and self._next["index"] < index:
            yield self._surplus(self._next, f"where that of item {index} should be")
            self._next = self._advance()
        if self._error is not None:
            yield from self._report_error()
        elif self._next is None or self._next["index"] > index:
            yield self._finding("the item has no row", name)
        else:
            if (expected := self._form(row)) != self._next:
                yield self._finding(_difference(self._next, expected), name)
            self._next = self._advance()

    def finish(self) -> Iterator[Finding]:
        while self._next is not None:
            yield self._surplus(self._next, "after the last one")
            self._next = self._advance()
        if self._error is not None:
            yield from self._report_error()

    def _advance(self) -> Row | None:
        if self._error is not None:
            return None
        try:
            return next(self._rows, None)
        except UnreadableManifest as error:
            self._error = f"it cannot be read: {error}"
            return None

    def _report_error(self) -> Iterator[Finding]:
        if not self._reported:
            self._reported = True
            yield self._finding(str(self._error), None)

    def _surplus(self, row: Row, where: str) -> Finding:
        return self._finding(f"a row of item {row['index']} {where}", str(row.get("name")))

    def _finding(self, message: str, item: str | None) -> Finding:
        return Finding(Kind.MANIFEST, f"{self._key}: {message}", item, self._key)


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
    return _with_costs(row)


def _with_costs(row: Row) -> Row:
    """Return a row of an earlier version with the costs that it lacks: 0, as in its ledger."""
    steps = row.get("steps")
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return row
    return {**row, "steps": [{"cost": 0.0, **step} for step in steps]}
