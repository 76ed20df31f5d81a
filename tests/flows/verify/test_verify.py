"""Verifying finds what is wrong, all of it and nothing else."""

import json
from contextlib import closing
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.documents.fields import Item
from flows.verify.findings import LISTED, Fault, Kind, ReadBack
from flows.verify.verify import verify_job
from storage.ledger.database import to_json
from storage.ledger.records import ItemState, JobStatus
from storage.objects.artefacts import ArtefactStore, StoreError
from storage.objects.folder_store import FolderStore
from storage.objects.keys import sha256_hex
from storage.objects.open_store import open_store
from tests.support.fake_steps import Fill, Invert, Lossy
from tests.support.jobs.verified_job import IconJob, found
from tests.support.mill import JOB, Mill, resolved
from tests.support.servers.s3 import S3Server


def test_a_sound_job_has_no_finding_and_shared_images_are_read_once(icons: IconJob) -> None:
    verification = icons.verify()
    assert verification.sound and verification.complete
    assert found(verification) == []
    # Three colors, loaded and resized, and one of them trimmed; four items have a final.
    assert (verification.artefacts, verification.finals) == (7, 4)
    sizes = {
        entry.artefact.key: entry.artefact.size
        for report in icons.mill.reports()
        for entry in report.steps.values()
        if entry.artefact
    }
    finals = sum(len(data) for data in icons.mill.finals().values())
    assert verification.bytes == sum(sizes.values()) + finals


def test_what_was_read_is_not_read_again_and_its_fault_is_remembered(store: ArtefactStore) -> None:
    good = store.put("good", b"good", sha256=sha256_hex(b"good"), content_type="text/plain")
    digests = {good.key: sha256_hex(b"good"), "gone": sha256_hex(b"gone")}
    with closing(ReadBack(store)) as read_back:
        assert read_back.read(digests) == {"gone": Fault.MISSING}
        store.delete(good.key)
        assert read_back.read(digests) == {"gone": Fault.MISSING}
        assert (read_back.objects, read_back.bytes) == (2, 4)


@pytest.mark.parametrize("seed", range(5))
def test_no_sound_job_has_a_finding(tmp_path: Path, seed: int) -> None:
    random = Random(seed)
    names = [f"i{index}" for index in range(random.randint(1, 60))]
    items = [Item(index=index, name=name, seed=random.randint(0, 20)) for index, name in enumerate(names)]
    steps = [
        resolved("fill", Fill(fail=tuple(random.sample(names, len(names) // 8)))),
        resolved("negative", Invert(), when=random.choice([None, "item.seed > 10", "facts.fill.brightness < 0.4"])),
        resolved("stored", Lossy(), when=random.choice([None, "item.seed > 5"])),
    ]
    keep = random.choice([(), ("negative",), ("fill", "stored")])
    mill = Mill(tmp_path, steps, items, keep=keep, chunk_size=random.randint(1, 9))
    mill.run()
    ended = [record.state for record in mill.ledger.items.find(JOB)]
    assert ItemState.PENDING not in ended
    assert verify_job(JOB, mill.ledger, mill.store, running=True, advance=lambda number: None).findings.listed == []


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("delete", Kind.MISSING_ARTEFACT),
        ("truncate", Kind.DAMAGED_ARTEFACT),
        ("alter", Kind.DAMAGED_ARTEFACT),
    ],
)
def test_an_artefact_that_is_lost_is_found(icons: IconJob, damage: str, kind: Kind) -> None:
    key = icons.artefact("second", "original").key
    icons.store.delete(key) if damage == "delete" else getattr(icons, damage)(key)
    assert found(icons.verify()) == [(kind, "second", key)]


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("delete", Kind.MISSING_FINAL),
        ("truncate", Kind.DAMAGED_FINAL),
        ("alter", Kind.DAMAGED_FINAL),
    ],
)
def test_a_final_that_is_lost_is_found(icons: IconJob, damage: str, kind: Kind) -> None:
    key = icons.final("cut")
    icons.store.delete(key) if damage == "delete" else getattr(icons, damage)(key)
    assert found(icons.verify()) == [(kind, "cut", key)]


def test_a_final_with_the_image_of_another_item_is_found(icons: IconJob) -> None:
    icons.store.publish(icons.final("second"), icons.final("first"), content_type="image/png")
    assert found(icons.verify()) == [(Kind.DAMAGED_FINAL, "first", icons.final("first"))]


def test_a_shared_artefact_is_one_finding_and_concerns_all_its_items(icons: IconJob) -> None:
    artefact = icons.artefact("twin", "original")
    icons.store.delete(artefact.key)
    verification = icons.verify()
    assert found(verification) == [(Kind.MISSING_ARTEFACT, "first", artefact.key)]
    assert verification.findings.damage.items == {0: {artefact.fingerprint}, 1: {artefact.fingerprint}}


def test_a_final_that_nobody_has_is_found(icons: IconJob) -> None:
    for name in ("someone", "broken"):
        icons.store.replace(f"{JOB}/final/{name}.png", b"mine", content_type="image/png")
    assert {(kind, key) for kind, _, key in found(icons.verify())} == {
        (Kind.STRAY_FINAL, "job/final/someone.png"),
        (Kind.STRAY_FINAL, "job/final/broken.png"),
    }


# -- the ledger ------------------------------------------------------------------------------------------------------
def test_an_artefact_that_the_ledger_has_lost_is_found(local_icons: IconJob) -> None:
    local_icons.ledger.steps.forget_artefacts(
        local_icons.store.root, [local_icons.artefact("second", "small").fingerprint]
    )
    assert (Kind.UNKNOWN_ARTEFACT, "second", None) in found(local_icons.verify())
    assert local_icons.verify().findings.counts[Kind.UNKNOWN_ARTEFACT] == 1


def test_a_done_item_without_an_outcome_is_found(local_icons: IconJob) -> None:
    local_icons.tamper("DELETE FROM step_runs WHERE visit = 'small' AND \"index\" = 2")
    assert local_icons.verify().findings.counts == {Kind.MISSING_OUTCOME: 1, Kind.MANIFEST: 2}


@pytest.mark.parametrize("finals", ["{}", '{"small": "job/final/other.png"}', '{"original": "job/final/second.png"}'])
def test_a_done_item_without_its_final_in_the_ledger_is_found(local_icons: IconJob, finals: str) -> None:
    local_icons.tamper("UPDATE items SET finals = :finals WHERE name = 'second'", {"finals": finals})
    assert (Kind.NO_FINAL, "second", None) in found(local_icons.verify())


def test_items_missing_from_the_ledger_are_found(local_icons: IconJob) -> None:
    local_icons.tamper("DELETE FROM items WHERE name = 'second'")
    counts = local_icons.verify().findings.counts
    # Both files of the manifest have its row, and its final is nobody's.
    assert counts == {Kind.MISSING_ITEM: 1, Kind.MANIFEST: 2, Kind.STRAY_FINAL: 1, Kind.REPORT: 1}


def test_a_job_that_is_not_what_it_is_said_to_be_is_found(local_icons: IconJob) -> None:
    local_icons.tamper("UPDATE jobs SET status = 'done'")
    assert local_icons.verify().findings.counts == {Kind.WRONG_STATUS: 1, Kind.REPORT: 1}


def test_an_item_pending_in_an_ended_job_is_found(local_icons: IconJob) -> None:
    local_icons.ledger.items.reset(JOB, states=[ItemState.FAILED])
    counts = local_icons.verify().findings.counts
    assert counts == {Kind.WRONG_STATUS: 1, Kind.MANIFEST: 2, Kind.REPORT: 1}


def test_a_job_that_has_not_ended_is_verified_as_far_as_it_is(tmp_path: Path) -> None:
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"))
    icons.mill.start()
    assert icons.verify(running=True).sound
    with icons.mill.open() as shard:
        for chunk, step in shard.schedule():
            shard.run_step(chunk, step)
            if step.id == "original":
                break
    verification = icons.verify(running=True)
    assert verification.sound and not verification.complete
    assert verification.artefacts == 3
    icons.store.delete(icons.artefact("first", "original").key)
    assert [kind for kind, *_ in found(icons.verify(running=True))] == [Kind.MISSING_ARTEFACT]


# -- manifest, report, gallery ---------------------------------------------------------------------------------------
def _lines(icons: IconJob) -> list[bytes]:
    return icons.store.get(f"{JOB}/manifest.jsonl").splitlines(keepends=True)


def _write(icons: IconJob, lines: list[bytes]) -> None:
    icons.store.replace(f"{JOB}/manifest.jsonl", b"".join(lines), content_type="application/x-ndjson")


def test_a_manifest_without_an_item_is_found(local_icons: IconJob) -> None:
    lines = _lines(local_icons)
    _write(local_icons, lines[:1] + lines[2:])
    assert found(local_icons.verify()) == [(Kind.MANIFEST, "twin", "job/manifest.jsonl")]


def test_a_manifest_without_its_last_item_is_found(local_icons: IconJob) -> None:
    _write(local_icons, _lines(local_icons)[:-1])
    assert found(local_icons.verify()) == [(Kind.MANIFEST, "broken", "job/manifest.jsonl")]


@pytest.mark.parametrize("place", [1, 4])
def test_a_manifest_with_an_item_twice_is_found(local_icons: IconJob, place: int) -> None:
    lines = _lines(local_icons)
    _write(local_icons, [*lines[: place + 1], *lines[place:]])
    name = json.loads(lines[place])["name"]
    assert found(local_icons.verify()) == [(Kind.MANIFEST, name, "job/manifest.jsonl")]


def test_a_manifest_with_another_state_is_found(local_icons: IconJob) -> None:
    lines = _lines(local_icons)
    _write(local_icons, [*lines[:2], lines[2].replace(b'"done"', b'"failed"'), *lines[3:]])
    verification = local_icons.verify()
    assert found(verification) == [(Kind.MANIFEST, "second", "job/manifest.jsonl")]
    assert "'failed' there, and 'done' in the ledger" in verification.findings.listed[0].message


@pytest.mark.parametrize("data", [b"", b"not a manifest", b"[1]\n", b"PAR1"])
@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.parquet"])
def test_a_file_that_is_no_manifest_is_found(local_icons: IconJob, name: str, data: bytes) -> None:
    local_icons.store.replace(f"{JOB}/{name}", data, content_type="application/octet-stream")
    findings = local_icons.verify().findings
    assert {(finding.kind, finding.key) for finding in findings.listed} == {(Kind.MANIFEST, f"{JOB}/{name}")}


def test_a_parquet_manifest_of_an_earlier_state_is_found(local_icons: IconJob) -> None:
    before = local_icons.store.get(f"{JOB}/manifest.parquet")
    local_icons.ledger.items.reset(JOB, states=[ItemState.FAILED])
    local_icons.run()
    local_icons.tamper("UPDATE items SET error = 'another' WHERE name = 'broken'")
    local_icons.run()
    local_icons.store.replace(f"{JOB}/manifest.parquet", before, content_type="application/octet-stream")
    assert found(local_icons.verify()) == [(Kind.MANIFEST, "broken", "job/manifest.parquet")]


def test_a_manifest_of_a_version_that_wrote_no_costs_and_no_warnings_is_sound(local_icons: IconJob) -> None:
    _write(local_icons, [to_json(_before(json.loads(line))).encode() + b"\n" for line in _lines(local_icons)])
    table = pq.read_table(BytesIO(local_icons.store.get(f"{JOB}/manifest.parquet")))
    older = [_before(row) for row in table.to_pylist()]
    parquet = BytesIO()
    pq.write_table(pa.Table.from_pylist(older), parquet)
    local_icons.store.replace(f"{JOB}/manifest.parquet", parquet.getvalue(), content_type="application/octet-stream")
    assert found(local_icons.verify()) == []


def _before(row: dict[str, Any]) -> dict[str, Any]:
    return {**_without(row, "warnings"), "steps": [_without(step, "cost") for step in row["steps"]]}


def _without(row: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != field}


def test_missing_pages_are_found(icons: IconJob) -> None:
    (items,) = [key for key, _ in icons.store.list(f"{JOB}/gallery/") if "items-" in key]
    for key in (f"{JOB}/report.json", items):
        icons.store.delete(key)
    assert found(icons.verify()) == [(Kind.REPORT, None, "job/report.json"), (Kind.GALLERY, None, items)]
    icons.store.delete(f"{JOB}/index.html")
    assert found(icons.verify())[1:] == [(Kind.GALLERY, None, "job/index.html")]


def test_a_report_of_an_earlier_run_is_found(local_icons: IconJob) -> None:
    local_icons.mill.run()
    local_icons.ledger.jobs.set_status(JOB, JobStatus.INCOMPLETE)
    assert found(local_icons.verify()) == [(Kind.REPORT, None, "job/report.json")]


# -- the store -------------------------------------------------------------------------------------------------------
def test_a_store_that_refuses_has_lost_nothing(
    tmp_path: Path, rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in rclone_server.environment.items():
        monkeypatch.setenv(name, value)
    root = f"s3://{rclone_server.bucket}/refused"
    icons = IconJob(tmp_path, open_store(root, rclone_server.settings()))
    icons.run()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    icons.store = open_store(root, rclone_server.settings())
    with pytest.raises(StoreError, match=r"AWS_ACCESS_KEY_ID|access is denied"):
        icons.verify()
    with pytest.raises(StoreError):
        icons.repair()
    assert all(record.state is not ItemState.PENDING for record in icons.ledger.items.find(JOB))


def test_an_empty_store_is_not_the_jobs(local_icons: IconJob) -> None:
    root = Path(local_icons.store.uri("x")).parent
    root.rename(root.with_name("elsewhere"))
    with pytest.raises(StoreError, match="is empty"):
        local_icons.verify()


def test_findings_are_counted_without_bound_and_listed_with_one(tmp_path: Path) -> None:
    items = [Item(index=index, name=f"i{index}", seed=index) for index in range(LISTED + 15)]
    mill = Mill(tmp_path, [resolved("fill", Fill())], items)
    mill.run()
    mill.store.replace("keep", b"something", content_type="text/plain")
    for key, _ in list(mill.store.list("artefacts/")):
        mill.store.delete(key)
    findings = verify_job(JOB, mill.ledger, mill.store, running=True, advance=lambda number: None).findings
    assert findings.counts == {Kind.MISSING_ARTEFACT: LISTED + 15}
    assert [finding.item for finding in findings.listed] == [f"i{index}" for index in range(LISTED)]
