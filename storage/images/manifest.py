"""The manifest: one row per item, as JSON Lines for programs and as Parquet for analysis."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from storage.ledger.database import slices, to_json
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemReport, JobRecord, StepOutcome
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key

_ROW_GROUP = 2000  # rows that are in memory at once


class ManifestKeys(NamedTuple):
    jsonl: str
    parquet: str


def manifest_keys(job: str) -> ManifestKeys:
    """Return the key of a job's manifest (by the job's name), whether it exists or not."""
    return ManifestKeys(job_key(job, "manifest.jsonl"), job_key(job, "manifest.parquet"))


def write_manifest(store: ArtefactStore, ledger: Ledger, job: JobRecord) -> ManifestKeys:
    """Write both files of the job's present state, replacing earlier ones.

    Rows are in the job's order: index, name, state, prompt, negative_prompt, seed, vars, error, error_step, warnings,
    `finals` (step, key, uri, sha256, width, height, content_type) and `steps` (step, outcome, seconds, cost,
    fingerprint, key, facts, error). Parquet holds the same, with `vars` and `facts` as JSON text: their keys differ
    from job to job. Memory grows with the size of a file, not with that of the rows.
    """
    keys = manifest_keys(job.name)
    with TemporaryDirectory(prefix="pixelmill-manifest-") as folder:
        lines, table = Path(folder, "manifest.jsonl"), Path(folder, "manifest.parquet")
        _write_files((manifest_row(store, report) for report in ledger.items.reports(job.id)), lines, table)
        store.replace(keys.jsonl, lines.read_bytes(), content_type="application/x-ndjson")
        store.replace(keys.parquet, table.read_bytes(), content_type="application/vnd.apache.parquet")
    return keys


def _write_files(rows: Iterator[dict[str, Any]], lines: Path, table: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = _schema()
    with lines.open("w", encoding="utf-8") as text, pq.ParquetWriter(table, schema, compression="zstd") as parquet:
        for some in slices(rows, _ROW_GROUP):
            text.writelines(to_json(row) + "\n" for row in some)
            parquet.write_table(pa.Table.from_pylist([flat_row(row) for row in some], schema=schema))


def manifest_row(store: ArtefactStore, report: ItemReport) -> dict[str, Any]:
    """Return the item's row for JSON Lines."""
    record, item = report.record, report.record.item
    return {
        "index": item.index,
        "name": item.name,
        "state": record.state.value,
        "prompt": item.prompt,
        "negative_prompt": item.negative_prompt,
        "seed": item.seed,
        "vars": item.vars,
        "error": record.error,
        "error_step": record.error_step,
        "warnings": list(record.warnings),
        "finals": [_final(store, step, key, report.steps.get(step)) for step, key in record.finals.items()],
        "steps": [_step(step, entry) for step, entry in report.steps.items()],
    }


def _final(store: ArtefactStore, step: str, key: str, entry: StepOutcome | None) -> dict[str, Any]:
    artefact = entry.artefact if entry else None
    described = {field: getattr(artefact, field, None) for field in ("sha256", "width", "height", "content_type")}
    return {"step": step, "key": key, "uri": store.uri(key), **described}


def _step(step: str, entry: StepOutcome) -> dict[str, Any]:
    artefact = entry.artefact
    return {
        "step": step,
        "outcome": entry.outcome.value,
        "seconds": entry.seconds,
        "cost": entry.cost,
        "fingerprint": artefact.fingerprint if artefact else None,
        "key": artefact.key if artefact else None,
        "facts": dict(artefact.facts) if artefact else {},
        "error": entry.error,
    }


def flat_row(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row for Parquet."""
    steps = [{**step, "facts": to_json(step["facts"])} for step in row["steps"]]
    return {**row, "vars": to_json(row["vars"]), "steps": steps}


def _schema() -> Any:
    import pyarrow as pa

    text, count = pa.string(), pa.int64()
    final = {"step": text, "key": text, "uri": text, "sha256": text}
    final |= {"width": count, "height": count, "content_type": text}
    step = {"step": text, "outcome": text, "seconds": pa.float64(), "cost": pa.float64()}
    step |= {"fingerprint": text, "key": text, "facts": text, "error": text}
    columns = {"index": count, "name": text, "state": text, "prompt": text, "negative_prompt": text, "seed": count}
    columns |= {"vars": text, "error": text, "error_step": text, "warnings": pa.list_(text)}
    columns |= {"finals": pa.list_(pa.struct(final)), "steps": pa.list_(pa.struct(step))}
    return pa.schema(columns)
