"""The manifest of a job."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from storage.images.manifest import write_manifest
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobRecord, Outcome, StepOutcome
from storage.objects.folder_store import FolderStore
from tests.support.ledger_samples import computed, reused, start
from tests.support.new_ledger import new_ledger


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "out")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.db")


@pytest.fixture
def job(ledger: Ledger) -> JobRecord:
    """One item done, one failed, the rest pending."""
    started = start(ledger, count=4)
    ledger.steps.record("job-1", 1, "draw", [computed(0), computed(1)])
    ledger.steps.record(
        "job-1",
        1,
        "cut",
        [StepOutcome(0, Outcome.SKIPPED), StepOutcome(1, Outcome.FAILED, error="no paint", traceback="Traceback …")],
        {
            0: ItemResult(ItemState.DONE, finals={"draw": "foxes/final/item-0.png"}, warnings=("draw: faint",)),
            1: ItemResult(ItemState.FAILED, error="no paint", error_step="cut"),
        },
    )
    return started


def test_each_item_is_a_row_of_both_files(store: FolderStore, ledger: Ledger, job: JobRecord, tmp_path: Path) -> None:
    keys = write_manifest(store, ledger, job)
    assert keys == ("foxes/manifest.jsonl", "foxes/manifest.parquet")
    rows = [json.loads(line) for line in store.get(keys.jsonl).splitlines()]
    assert [(row["index"], row["name"], row["state"]) for row in rows] == [
        (0, "item-0", "done"),
        (1, "item-1", "failed"),
        (2, "item-2", "pending"),
        (3, "item-3", "pending"),
    ]
    assert (rows[0]["prompt"], rows[0]["seed"], rows[0]["vars"]) == ("a fox é 0", 2**63 - 1, {"n": 0})
    assert rows[0]["finals"] == [
        {
            "step": "draw",
            "key": "foxes/final/item-0.png",
            "uri": str(tmp_path / "out/foxes/final/item-0.png"),
            "sha256": "5" * 64,
            "width": 64,
            "height": 48,
            "content_type": "image/png",
        }
    ]
    assert rows[0]["steps"][0] == {
        "step": "draw",
        "outcome": "computed",
        "seconds": 0.5,
        "cost": 0.0,
        "fingerprint": "generate-0",
        "key": "artefacts/generate-0.png",
        "facts": {"alpha_coverage": 0.5, "has_alpha": True},
        "error": None,
    }
    assert [step["outcome"] for step in rows[1]["steps"]] == ["computed", "failed"]
    assert (rows[1]["error"], rows[1]["error_step"]) == ("no paint", "cut")
    assert [row["warnings"] for row in rows] == [["draw: faint"], [], [], []]

    table = pq.read_table(store.uri(keys.parquet)).to_pylist()
    for row in rows:
        row["vars"] = json.dumps(row["vars"])
        for step in row["steps"]:
            step["facts"] = json.dumps(step["facts"])
    assert table == rows


def test_parquet_types_do_not_depend_on_the_rows(store: FolderStore, ledger: Ledger, job: JobRecord) -> None:
    full = pq.read_schema(store.uri(write_manifest(store, ledger, job).parquet))
    empty = start(ledger, count=0, job_id="none", name="none")
    assert pq.read_schema(store.uri(write_manifest(store, ledger, empty).parquet)) == full


def test_a_later_manifest_replaces_the_first(store: FolderStore, ledger: Ledger, job: JobRecord) -> None:
    write_manifest(store, ledger, job)
    ledger.steps.record("job-1", 1, "draw", [reused(2)], {2: ItemResult(ItemState.DONE)})
    keys = write_manifest(store, ledger, job)
    states = [json.loads(line)["state"] for line in store.get(keys.jsonl).splitlines()]
    assert states == ["done", "failed", "done", "pending"]


@pytest.mark.parts
def test_more_rows_than_one_group(store: FolderStore, ledger: Ledger) -> None:
    many = start(ledger, count=4100, name="many")
    keys = write_manifest(store, ledger, many)
    assert pq.read_table(store.uri(keys.parquet), columns=["index"])["index"].to_pylist() == list(range(4100))
    assert len(store.get(keys.jsonl).splitlines()) == 4100
