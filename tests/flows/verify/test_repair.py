"""Repairing mends exactly what is wrong, and leaves to the next run exactly what has to be made again."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from flows.pages.gallery import finish_job
from flows.verify.findings import Kind
from flows.verify.repair import Mended, reindex_artefacts
from steps.contract import WARNINGS
from storage.images.images import decode, encode, read_recipe
from storage.images.job_mark import read_mark, write_mark
from storage.images.png_recipe import ImageRecipe
from storage.ledger.lease import JobIsRunning, job_lease, lease, shard_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, JobStatus
from storage.objects.folder_store import FolderStore
from tests.support.command import Pixelmill
from tests.support.jobs.verified_job import IconJob, found
from tests.support.ledger_samples import start
from tests.support.mill import JOB
from tests.support.new_ledger import new_ledger

pytestmark = pytest.mark.parts

TRIM_ALONE = "only step 'trim' can know its trimmed_ratio, and no manifest has it"


def pending(icons: IconJob) -> list[str]:
    return [record.item.name for record in icons.ledger.items.find(JOB, states=[ItemState.PENDING])]


def forget_all(icons: IconJob) -> int:
    """Loses every artefact's row, as an older backup of the ledger has them. Returns how many there were."""
    artefacts = {
        entry.artefact.fingerprint
        for report in icons.mill.reports()
        for entry in report.steps.values()
        if entry.artefact
    }
    icons.ledger.steps.forget_artefacts(icons.store.root, sorted(artefacts))
    return len(artefacts)


def test_nothing_is_done_to_a_sound_job(icons: IconJob) -> None:
    before = {key: icons.store.get(key) for key, _ in icons.store.list("")}
    repair = icons.repair()
    assert repair.mended == Mended()
    assert repair.left.sound
    assert {key: icons.store.get(key) for key, _ in icons.store.list("")} == before


def test_a_repair_takes_the_folder_over_from_another_ledger(local_icons: IconJob, tmp_path: Path) -> None:
    with closing(new_ledger(tmp_path / "other.db")) as other:
        write_mark(local_icons.store, start(other, job_id=JOB, name=JOB, output=local_icons.store.root))
    local_icons.repair()
    mark = read_mark(local_icons.store, JOB)
    assert mark is not None and mark.is_of(local_icons.job)


# -- images ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("damage", ["delete", "truncate", "alter"])
def test_a_lost_image_between_is_made_again_and_nothing_else(icons: IconJob, damage: str) -> None:
    key = icons.artefact("first", "original").key
    finals = icons.mill.finals()
    icons.store.delete(key) if damage == "delete" else getattr(icons, damage)(key)
    repair = icons.repair()
    assert repair.mended == Mended(forgotten=1, reopened=2, rewritten=True)
    assert pending(icons) == ["first", "twin"]
    assert repair.left.sound and not repair.left.complete
    assert (icons.job.status, icons.job.error) == (
        JobStatus.FAILED,
        "2 items have to be made again: `pixelmill resume job` does so",
    )
    assert not icons.store.exists(key)
    assert icons.run() == {"original": 1}
    assert icons.verify().sound
    assert icons.mill.finals() == finals


@pytest.mark.parametrize("damage", ["delete", "truncate", "alter"])
def test_a_lost_final_is_copied_from_its_artefact(icons: IconJob, damage: str) -> None:
    finals = icons.mill.finals()
    key = icons.final("cut")
    icons.store.delete(key) if damage == "delete" else getattr(icons, damage)(key)
    repair = icons.repair()
    assert found(repair.found)[0][1:] == ("cut", key)
    assert repair.mended == Mended(published=1)
    assert repair.left.sound and repair.left.complete
    assert icons.mill.finals() == finals
    assert icons.run() == {}


def test_a_lost_artefact_comes_back_from_its_final(icons: IconJob) -> None:
    artefact = icons.artefact("first", "small")
    icons.truncate(artefact.key)
    icons.store.delete(icons.final("first"))  # its twin's is a copy too
    repair = icons.repair()
    assert repair.mended == Mended(restored=1, published=1)
    assert repair.left.sound
    assert icons.store.get(artefact.key, sha256=artefact.sha256)


def test_an_image_lost_with_its_final_is_made_again(icons: IconJob) -> None:
    artefact = icons.artefact("cut", "cut")
    icons.alter(icons.final("cut"))
    icons.alter(artefact.key)
    repair = icons.repair()
    assert repair.mended == Mended(forgotten=1, reopened=1, rewritten=True)
    assert not icons.store.exists(icons.final("cut") if icons.report("cut").record.finals else f"{JOB}/final/cut.png")
    assert icons.run() == {"cut": 1}
    assert icons.verify().sound


def test_a_lost_image_of_an_item_that_failed_leaves_the_item_alone(tmp_path: Path) -> None:
    steps = [
        {"id": "original", "step": "load"},
        {"id": "small", "step": "resize", "width": 6, "when": "item.name == 'second'"},
        {"id": "late", "step": "load", "when": "item.name != 'second'"},
    ]
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"), steps=steps)
    icons.run()
    icons.store.delete(icons.artefact("second", "original").key)
    icons.tamper("UPDATE items SET state = 'failed', error = 'no', finals = '{}' WHERE name = 'second'")
    icons.store.delete(f"{JOB}/final/second.png")
    icons.ledger.jobs.set_status(JOB, JobStatus.INCOMPLETE)
    repair = icons.repair()
    assert (repair.mended.forgotten, repair.mended.reopened) == (1, 0)
    assert repair.left.sound


# -- finals of nobody ------------------------------------------------------------------------------------------------
def test_a_copy_that_nobody_has_is_removed_and_a_file_that_may_be_somebodys_stays(icons: IconJob) -> None:
    icons.store.publish(icons.artefact("cut", "original").key, f"{JOB}/final/former.png", content_type="image/png")
    edited = icons.store.get(icons.artefact("cut", "original").key) + b"edited"
    for name, data in {"notes.txt": b"mine", "retouched.png": edited}.items():
        icons.store.replace(f"{JOB}/final/{name}", data, content_type="application/octet-stream")
    repair = icons.repair()
    assert repair.mended == Mended(removed=1)
    assert {key for *_, key in found(repair.left)} == {"job/final/notes.txt", "job/final/retouched.png"}
    assert icons.store.get("job/final/notes.txt") == b"mine"
    assert icons.store.get("job/final/retouched.png") == edited


# -- the ledger ------------------------------------------------------------------------------------------------------
def test_lost_rows_of_artefacts_are_read_from_the_artefacts(icons: IconJob) -> None:
    known = icons.artefact("cut", "cut")
    count = forget_all(icons)
    repair = icons.repair()
    assert repair.found.findings.counts[Kind.UNKNOWN_ARTEFACT] == 4  # the items that are done
    assert repair.mended == Mended(adopted=count)
    assert repair.left.sound and repair.left.complete
    again = icons.artefact("cut", "cut")
    assert again.facts["trimmed_ratio"] == known.facts["trimmed_ratio"] > 0
    assert [getattr(again, name) for name in ("key", "sha256", "size", "width", "height", "content_type", "step")] == [
        getattr(known, name) for name in ("key", "sha256", "size", "width", "height", "content_type", "step")
    ]
    assert dict(again.facts) == dict(known.facts)
    assert icons.run() == {}


def test_what_a_step_warned_of_comes_back_from_the_manifest(local_icons: IconJob) -> None:
    artefact = local_icons.artefact("second", "original")
    warned = {**artefact.facts, WARNINGS: "the file is damaged"}
    local_icons.ledger.steps.add_facts(artefact.root, artefact.fingerprint, warned)
    finish_job(local_icons.job, local_icons.ledger, local_icons.mill.settings)
    forget_all(local_icons)
    reindex_artefacts(local_icons.store, local_icons.ledger, JOB, advance=lambda number: None)
    assert local_icons.artefact("second", "original").facts == warned


def test_an_image_whose_facts_nobody_can_tell_is_made_again(icons: IconJob) -> None:
    count = forget_all(icons)
    icons.store.delete(f"{JOB}/manifest.jsonl")
    repair = icons.repair()
    assert repair.mended == Mended(adopted=count - 1, not_adopted={TRIM_ALONE: 1}, reopened=1, rewritten=True)
    assert pending(icons) == ["cut"]
    assert icons.run() == {"cut": 1}
    assert icons.verify().sound


def test_facts_that_a_lossy_file_no_longer_shows_come_from_the_manifest(tmp_path: Path) -> None:
    steps = [{"id": "original", "step": "load"}, {"id": "stored", "step": "convert", "format": "jpeg", "quality": 5}]
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"), steps=steps)
    icons.run()
    known = dict(icons.artefact("second", "stored").facts)
    count = forget_all(icons)
    assert icons.repair().mended == Mended(adopted=count)
    assert dict(icons.artefact("second", "stored").facts) == known
    assert icons.run() == {}

    forget_all(icons)
    icons.store.delete(f"{JOB}/manifest.jsonl")
    repair = icons.repair()
    assert (repair.mended.adopted, repair.mended.reopened) == (3, 4)
    assert icons.run() == {"stored": 3}
    assert icons.verify().sound


@pytest.mark.parametrize(
    "last", [{"step": "trim", "by": "border"}, {"step": "convert", "format": "jpeg", "quality": 5}]
)
def test_a_manifest_of_a_version_that_measured_less_is_believed(tmp_path: Path, last: dict[str, object]) -> None:
    steps = [{"id": "original", "step": "load"}, {"id": "last", **last}]
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"), steps=steps)
    icons.run()
    key = f"{JOB}/manifest.jsonl"
    rows = [json.loads(line) for line in icons.store.get(key).splitlines()]
    for facts in [step["facts"] for row in rows for step in row["steps"] if step["facts"]]:
        del facts["entropy"]
    older = "".join(json.dumps(row) + "\n" for row in rows).encode()
    icons.store.replace(key, older, content_type="application/x-ndjson")
    count = forget_all(icons)

    mended = icons.repair().mended

    assert (mended.adopted, mended.not_adopted, icons.run()) == (count, {}, {})


def test_facts_of_another_image_are_not_believed(local_icons: IconJob) -> None:
    key, manifest = f"{JOB}/manifest.jsonl", local_icons.store.get(f"{JOB}/manifest.jsonl")
    facts = local_icons.artefact("cut", "cut").facts
    changed = manifest.replace(f'"contrast": {facts["contrast"]}'.encode(), b'"contrast": 0.123')
    assert changed != manifest
    local_icons.store.replace(key, changed, content_type="application/x-ndjson")
    forget_all(local_icons)
    assert local_icons.repair().mended.not_adopted == {TRIM_ALONE: 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("truncate", "it is damaged"),
        ("alter", "it is damaged"),
        ("move", "its record belongs to another image"),
        ("rename", "its name belongs to another format"),
        ("strip", "it has no record of how it was made"),
        ("forge", "its record belongs to another image"),
        ("nan", "its record belongs to another image"),
    ],
)
def test_what_an_image_does_not_prove_is_not_believed(local_icons: IconJob, change: str, reason: str) -> None:
    store, artefact = local_icons.store, local_icons.artefact("second", "original")
    forget_all(local_icons)
    if change in ("truncate", "alter"):
        getattr(local_icons, change)(artefact.key)
    elif change in ("forge", "nan"):
        data = store.get(artefact.key)
        (mark,) = read_recipe(data).steps
        other = "than the fingerprint says" if change == "forge" else float("nan")  # of which no fingerprint is made
        forged = ImageRecipe((replace(mark, identity={"other": other}),))
        image = decode(data, max_pixels=10**6)
        other_data = encode(image, format="png", quality=90, lossless=True, recipe=forged).data
        store.replace(artefact.key, other_data, content_type="image/png")
    elif change == "strip":
        path = Path(store.uri(artefact.key))
        with Image.open(path) as image:
            image.load()
            path.unlink()
            Image.frombytes(image.mode, image.size, image.tobytes()).save(path)
    else:
        other = "artefacts/00/" + "0" * 64 + ".png" if change == "move" else artefact.key.replace(".png", ".webp")
        store.publish(artefact.key, other, content_type="image/png")
        store.delete(artefact.key)
    mended = reindex_artefacts(store, local_icons.ledger, JOB, advance=lambda number: None)
    assert (mended.adopted, mended.not_adopted) == (6, {reason: 1})


def test_a_lost_ledger_costs_no_image(icons: IconJob) -> None:
    finals = icons.mill.finals()
    icons.ledger.close()
    home = icons.folder / "home"
    for file in home.glob("ledger.db*"):
        file.unlink()
    icons.ledger = icons.mill.ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")
    mended = reindex_artefacts(icons.store, icons.ledger, JOB, advance=lambda number: None)
    assert (mended.adopted, mended.not_adopted) == (7, {})
    assert icons.run() == {}
    assert icons.verify().sound
    assert icons.mill.finals() == finals


@pytest.mark.parametrize(
    "tampering",
    [
        "DELETE FROM step_runs WHERE visit = 'original' AND \"index\" = 2",
        "UPDATE step_runs SET outcome = 'failed' WHERE visit = 'small' AND \"index\" = 2",
        "UPDATE items SET finals = '{}' WHERE name = 'second'",
    ],
)
def test_an_item_with_a_gap_in_the_ledger_walks_again_and_finds_its_images(
    local_icons: IconJob, tampering: str
) -> None:
    local_icons.tamper(tampering)
    repair = local_icons.repair()
    assert repair.mended == Mended(reopened=1, rewritten=True)
    assert pending(local_icons) == ["second"]
    assert local_icons.run() == {}
    assert local_icons.verify().sound


def test_a_lost_item_comes_back_with_its_job_file(local_icons: IconJob) -> None:
    local_icons.tamper("DELETE FROM items WHERE name = 'second'")
    assert Kind.MISSING_ITEM in local_icons.repair().left.findings.counts
    assert local_icons.run() == {}
    assert local_icons.verify().sound


@pytest.mark.parametrize("name", ["manifest.jsonl", "manifest.parquet", "report.json", "index.html"])
def test_what_speaks_of_the_job_is_written_anew(local_icons: IconJob, name: str) -> None:
    before = local_icons.store.get(f"{JOB}/{name}")
    local_icons.store.replace(f"{JOB}/{name}", b"{}\n", content_type="text/plain")
    repair = local_icons.repair()
    assert repair.mended == Mended(rewritten=True)
    assert repair.left.sound
    if name != "manifest.parquet":  # which tells when it was written
        assert local_icons.store.get(f"{JOB}/{name}") == before


@pytest.mark.parametrize("kind", ["items", "details", "ways"])
def test_a_damaged_file_of_the_gallery_is_written_anew(icons: IconJob, kind: str) -> None:
    (key,) = (key for key, _ in icons.store.list(f"{JOB}/gallery/{kind}-"))
    icons.truncate(key)
    repair = icons.repair()
    assert repair.mended == Mended(rewritten=True)
    assert repair.left.sound


# -- who may -----------------------------------------------------------------------------------------------------------
def test_a_job_at_which_somebody_works_is_not_repaired(local_icons: IconJob) -> None:
    icons = local_icons
    icons.store.delete(icons.final("cut"))
    shell = Pixelmill(icons.folder)
    with job_lease(JOB, icons.ledger):
        refused = shell("verify", JOB, "--repair", "--json")
    assert refused.status == 1
    assert "is running already" in refused.err
    assert not icons.store.exists(icons.final("cut"))


def test_a_job_whose_shard_outlived_its_burst_is_not_repaired(local_icons: IconJob) -> None:
    local_icons.store.delete(local_icons.final("cut"))
    with lease(shard_lease(JOB, 0), local_icons.ledger), pytest.raises(JobIsRunning, match="a worker still works"):
        local_icons.repair()
    assert not local_icons.store.exists(local_icons.final("cut"))
    assert local_icons.repair().mended == Mended(published=1)


def test_an_interrupted_job_is_repaired_and_goes_on(tmp_path: Path) -> None:
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"))
    with icons.mill.open() as shard:
        for chunk, step in shard.schedule():
            shard.run_step(chunk, step)
            if step.id == "original":
                break
    icons.store.delete(icons.artefact("first", "original").key)
    repair = icons.repair()
    assert repair.mended == Mended(forgotten=1)
    assert (repair.left.sound, icons.job.status) == (True, JobStatus.RUNNING)
    assert icons.run() == {"original": 1, "small": 3, "cut": 1}
    assert icons.verify().sound


def test_the_command_tells_programs_and_people(tmp_path: Path) -> None:
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"))
    icons.run()
    shell = Pixelmill(tmp_path)
    sound = shell.here("verify", JOB, "--json")
    assert (sound.status, sound.document["sound"], sound.document["problems"]) == (0, True, {})
    assert sound.document["items"] == {"total": 5, "done": 4, "failed": 1, "quarantined": 0, "pending": 0}
    icons.alter(icons.artefact("cut", "cut").key)
    icons.store.delete(icons.final("cut"))
    broken = shell.here("verify", JOB)
    assert broken.status == 3
    assert (
        "not sound" in broken.out
        and "artefacts damaged: 1" in broken.out
        and "finals missing from the store: 1" in broken.out
    )
    repaired = shell.here("verify", JOB, "--repair", "--json")
    assert repaired.status == 3
    assert repaired.document["found"]["problems"] == {"damaged_artefact": 1, "missing_final": 1}
    assert (repaired.document["sound"], repaired.document["items"]["pending"]) == (True, 1)
    assert "`pixelmill resume job` makes them" in shell.here("verify", JOB).out
    assert icons.run() == {"cut": 1}
    assert shell.here("verify", JOB).status == 0


def test_a_job_file_stands_for_its_job_also_where_the_ledger_is_lost(tmp_path: Path) -> None:
    icons = IconJob(tmp_path, FolderStore(tmp_path / "out"))
    icons.run()
    shell = Pixelmill(tmp_path / "shell", {"PIXELMILL_HOME": str(tmp_path / "other-home")})
    shell.folder.mkdir()
    shell.write("recipe.yaml", "name: icons\nsteps:\n  - {id: original, step: load}\n")
    path = shell.write(
        "job.yaml",
        f"name: {JOB}\nrecipe: ./recipe.yaml\noutput: {tmp_path / 'out'}\n"
        f"items:\n  - {{name: first, image: {tmp_path / 'input' / 'red.png'}}}\n",
    )
    refused = shell.here("verify", path)
    assert refused.status == 2
    assert "the ledger has no job" in refused.err
    adopted = shell.here("verify", path, "--repair", "--json")
    assert (adopted.status, adopted.document["repair"]["adopted"]) == (3, 7)
    assert shell.here("plan", path, "--json").document["steps"]["original"]["reused"] == 1
