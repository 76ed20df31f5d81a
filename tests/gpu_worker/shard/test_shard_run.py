"""A shard: every item takes its own way, each image is made once, one bad item fails alone."""

import io
import threading
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from configs.documents.fields import Item
from gpu_worker.walk.prediction import Forecast, forecast
from steps.contract import Frame, StepContext, StepResult
from storage.ledger.records import ItemState
from storage.objects.artefacts import MissingObject, StoredObject, StoreError
from storage.objects.folder_store import FolderStore
from tests.support.fake_steps import Fill, Invert, Lossy, items
from tests.support.mill import JOB, Mill, resolved
from tests.support.waiting import PATIENCE


def computed(log: Path) -> Counter[str]:
    return Counter(log.read_text().splitlines()) if log.exists() else Counter()


def test_every_item_ends_with_a_published_image(tmp_path: Path) -> None:
    mill = Mill(tmp_path, [resolved("made", Fill()), resolved("negative", Invert())], items(5), chunk_size=2)
    tasks = mill.run()
    assert [(label.split()[-1], step) for label, step, _ in tasks] == [
        (str(chunk), step) for chunk in range(3) for step in ("made", "negative")
    ]
    assert sum(counts.computed for _, _, counts in tasks) == 10
    finals = mill.finals()
    assert sorted(finals) == [f"{JOB}/final/i{index}.png" for index in range(5)]
    assert Image.open(io.BytesIO(finals[f"{JOB}/final/i3.png"])).getpixel((0, 0)) == (252, 252, 156)
    for report in mill.reports():
        assert report.record.state is ItemState.DONE
        assert list(report.record.finals) == ["negative"]
        made = report.steps["made"].artefact
        assert made is not None
        assert made.facts["filled"] is True
        assert made.facts["width"] == 8


def test_a_second_run_reuses_everything(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    steps = [resolved("made", Fill(log=log)), resolved("negative", Invert(log=log))]
    mill = Mill(tmp_path, steps, items(3))
    mill.run()
    mill.ledger.items.reset(JOB)
    tasks = mill.run()
    assert [(counts.computed, counts.reused) for _, _, counts in tasks] == [(0, 3), (0, 3)]
    assert set(computed(Path(log)).values()) == {1}
    assert mill.ledger.items.progress(JOB).done == 3


def test_a_changed_last_step_reuses_the_first_ones(tmp_path: Path) -> None:
    log = str(tmp_path / "log")
    Mill(tmp_path, [resolved("made", Fill(log=log)), resolved("negative", Invert(log=log))], items(3)).run()
    changed = Mill(tmp_path, [resolved("made", Fill(log=log)), resolved("negative", Invert(log=log, tag=1))], items(3))
    changed.ledger.items.reset(JOB)
    tasks = changed.run()
    assert [(counts.computed, counts.reused) for _, _, counts in tasks] == [(0, 3), (3, 0)]
    assert sum(count for line, count in computed(Path(log)).items() if line.startswith("Fill")) == 3


def test_one_bad_item_fails_alone(tmp_path: Path) -> None:
    steps = [resolved("made", Fill(fail=("i1",))), resolved("negative", Invert(fail=("i2",)))]
    mill = Mill(tmp_path, steps, items(4))
    mill.run()
    records = [report.record for report in mill.reports()]
    assert [record.state.value for record in records] == ["done", "failed", "failed", "done"]
    assert (records[1].error_step, records[1].error) == ("made", "RuntimeError: cannot fill i1")
    assert (records[2].error_step, records[2].error) == ("negative", "ValueError: cannot invert i2")
    assert mill.outcomes()[1] == {"made": "failed"}
    traceback = mill.reports()[2].steps["negative"].traceback
    assert traceback is not None
    assert "fake_steps.py" in traceback


def test_conditions_read_facts_of_steps_and_variables(tmp_path: Path) -> None:
    some = [
        item.model_copy(update={"vars": {"flip": bool(item.index % 2)}, "seed": item.index * 100}) for item in items(4)
    ]
    steps = [
        resolved("made", Fill()),
        resolved("negative", Invert(), when="vars.flip"),
        resolved("again", Invert(tag=1), when="facts.made.brightness > 0.5"),
    ]
    mill = Mill(tmp_path, steps, some)
    mill.run()
    for item, report in zip(some, mill.reports(), strict=True):
        made = report.steps["made"].artefact
        assert made is not None
        expected = {
            "made": "computed",
            "negative": "computed" if item.vars["flip"] else "skipped",
            "again": "computed" if made.facts["brightness"] > 0.5 else "skipped",
        }
        assert {step: entry.outcome.value for step, entry in report.steps.items()} == expected
        last = [step for step, outcome in expected.items() if outcome == "computed"][-1]
        assert list(report.record.finals) == [last]


def test_kept_steps_are_named_apart(tmp_path: Path) -> None:
    steps = [resolved("made", Fill()), resolved("negative", Invert(), when="item.seed == 1")]
    mill = Mill(tmp_path, steps, items(2), keep=("made", "negative"))
    mill.run()
    assert sorted(mill.finals()) == [f"{JOB}/final/{name}.png" for name in ("i0.made", "i1.made", "i1.negative")]


def test_an_item_that_visits_nothing_fails_with_a_reason(tmp_path: Path) -> None:
    mill = Mill(tmp_path, [resolved("made", Fill(), when="item.seed == 1")], items(2))
    mill.run()
    states = [report.record for report in mill.reports()]
    assert [record.state for record in states] == [ItemState.FAILED, ItemState.DONE]
    assert states[0].error is not None
    assert "change a `when`" in states[0].error


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_equal_fingerprints_are_computed_once(tmp_path: Path, chunk_size: int) -> None:
    log = tmp_path / "log"
    twins = [item.model_copy(update={"seed": 7}) for item in items(3)]
    mill = Mill(tmp_path, [resolved("made", Fill(log=str(log)))], twins, chunk_size=chunk_size)
    mill.run()
    assert sum(computed(log).values()) == 1
    assert mill.outcomes() == [{"made": "computed"}, {"made": "reused"}, {"made": "reused"}]
    assert len(mill.finals()) == 3


def test_a_twin_of_a_failed_item_tries_for_itself(tmp_path: Path) -> None:
    twins = [item.model_copy(update={"seed": 7}) for item in items(3)]
    mill = Mill(tmp_path, [resolved("made", Fill(fail=("i0",)))], twins)
    mill.run()
    assert mill.outcomes() == [{"made": "failed"}, {"made": "computed"}, {"made": "reused"}]


@pytest.mark.parametrize("streams", [True, False])
def test_micro_batch_and_order_change_no_byte(tmp_path: Path, streams: bool) -> None:
    results = []
    for micro_batch in (1, 3, 8):
        folder = tmp_path / str(micro_batch)
        folder.mkdir()
        steps = [resolved("made", Fill()), resolved("small", Lossy()), resolved("negative", Invert())]
        mill = Mill(folder, steps, items(7), chunk_size=4, micro_batch=micro_batch, streams=streams)
        mill.run()
        results.append(mill.finals())
    assert len(results[0]) == 7
    assert results[0] == results[1] == results[2]


def test_the_next_step_sees_what_was_stored(tmp_path: Path) -> None:
    """After a lossy step, streaming through memory and reading from the store must give the same image."""
    finals = []
    for streams in (True, False):
        folder = tmp_path / str(streams)
        folder.mkdir()
        mill = Mill(folder, [resolved("a", Fill()), resolved("b", Lossy()), resolved("c", Invert())], items(3))
        mill.streams = streams
        mill.run()
        finals.append(mill.finals())
    assert finals[0] == finals[1]


def test_models_that_do_not_fit_together_go_step_by_step(tmp_path: Path) -> None:
    mill = Mill(tmp_path, [resolved("a", Fill()), resolved("b", Invert())], items(4), chunk_size=2, streams=False)
    assert [step for _, step, _ in mill.run()] == ["a", "a", "b", "b"]
    assert mill.ledger.items.progress(JOB).done == 4


@pytest.mark.parametrize("damage", ["delete", "truncate"])
def test_a_lost_input_image_is_made_again(tmp_path: Path, damage: str) -> None:
    log = tmp_path / "log"
    steps = [resolved("made", Fill(log=str(log))), resolved("negative", Invert())]
    first = Mill(tmp_path, steps[:1], items(3))
    first.run()
    lost = first.reports()[1].steps["made"].artefact
    assert lost is not None
    whole = first.store.get(lost.key)
    first.store.delete(lost.key)
    if damage == "truncate":
        first.store.replace(lost.key, whole[:40], content_type="image/png")
    mill = Mill(tmp_path, steps, items(3))
    mill.ledger.items.reset(JOB)
    mill.run()
    assert computed(log) == {"Fill i0": 1, "Fill i1": 2, "Fill i2": 1}
    assert mill.ledger.items.progress(JOB).done == 3
    assert mill.outcomes()[1] == {"made": "computed", "negative": "computed"}
    assert mill.store.get(lost.key) == whole


def test_a_lost_final_image_is_made_again(tmp_path: Path) -> None:
    mill = Mill(tmp_path, [resolved("made", Fill())], items(3))
    mill.run()
    for key in [key for key, _ in mill.store.list("")]:
        mill.store.delete(key)
    mill.ledger.items.reset(JOB)
    mill.run()
    assert mill.ledger.items.progress(JOB).done == 3
    assert len(mill.finals()) == 3


def test_a_long_chain_is_made_again_from_the_start_if_all_its_images_are_lost(tmp_path: Path) -> None:
    chain = [resolved("made", Fill()), *(resolved(f"negative{number}", Invert()) for number in range(5))]
    first = Mill(tmp_path, chain, items(3))
    first.run()
    for key in [key for key, _ in first.store.list("")]:
        first.store.delete(key)
    mill = Mill(tmp_path, [*chain, resolved("last", Invert()), resolved("same", Invert())], items(3), chunk_size=2)
    mill.ledger.items.reset(JOB)
    mill.run()
    assert mill.ledger.items.progress(JOB).done == 3
    assert set(mill.outcomes()[0].values()) == {"computed"}
    assert len(mill.finals()) == 3


@pytest.mark.parametrize("rounds", [1, 3])
def test_an_item_that_comes_less_far_than_before_keeps_no_steps_of_then(tmp_path: Path, rounds: int) -> None:
    """Before: in an earlier run, or in an earlier round of this one, which then found the images lost."""
    made, negative, last = resolved("made", Fill()), resolved("negative", Invert()), resolved("last", Invert(tag=1))
    first = Mill(tmp_path, [made, negative], items(2))
    first.run()
    for key in [key for key, _ in first.store.list("")]:
        first.store.delete(key)
    if rounds == 1:
        lost = [artefact for report in first.reports() if (artefact := report.steps["made"].artefact)]
        first.ledger.steps.forget_artefacts(first.store.root, [artefact.fingerprint for artefact in lost])
    failing = resolved("made", Fill(fail=("i1",)))
    mill = Mill(tmp_path, [failing, negative, last], items(2))
    mill.ledger.items.reset(JOB)
    mill.run()
    assert set(mill.outcomes()[0].values()) == {"computed"}
    assert mill.outcomes()[1] == {"made": "failed"}
    assert mill.ledger.steps.counts(JOB)["negative"].reused == 0


def test_an_item_file_that_cannot_be_read_fails_its_item(tmp_path: Path) -> None:
    from steps.load import Load

    Image.new("RGB", (4, 4), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    some = [
        Item(index=index, name=f"i{index}", seed=0, image=str(tmp_path / name))
        for index, name in enumerate(["good.png", "bad.png", "missing.png", "good.png"])
    ]
    mill = Mill(tmp_path, [resolved("loaded", Load())], some)
    mill.run()
    records = [report.record for report in mill.reports()]
    assert [record.state.value for record in records] == ["done", "failed", "failed", "done"]
    assert records[2].error is not None
    assert "missing.png" in records[2].error


def test_a_changed_input_file_is_another_image(tmp_path: Path) -> None:
    from steps.load import Load

    path = tmp_path / "in.png"
    Image.new("RGB", (4, 4), "red").save(path)
    mill = Mill(tmp_path, [resolved("loaded", Load())], [Item(index=0, name="i", seed=0, image=str(path))])
    mill.run()
    Image.new("RGB", (4, 4), "blue").save(path)
    mill.ledger.items.reset(JOB)
    [(_, _, counts)] = mill.run()
    assert counts.computed == 1
    assert Image.open(io.BytesIO(mill.finals()[f"{JOB}/final/i.png"])).getpixel((0, 0)) == (0, 0, 255)


def test_the_forecast_comes_true(tmp_path: Path) -> None:
    steps = [
        resolved("made", Fill()),
        resolved("negative", Invert(), when="item.seed < 3"),
        resolved("bright", Invert(tag=1), when="facts.made.brightness > 0.1"),
        resolved("never", Invert(tag=2), when="item.seed > 99"),
    ]
    mill = Mill(tmp_path, steps, items(5))
    mill.start()

    def predicted() -> dict[str, Forecast]:
        return forecast(
            mill.items,
            mill.program,
            model_digests={},
            find_artefacts=lambda fingerprints: mill.ledger.steps.find_artefacts(mill.store.root, fingerprints),
            digest_file=lambda location: "",
        )

    assert predicted() == {
        "made": Forecast(computed=5),
        "negative": Forecast(computed=3, skipped=2),
        "bright": Forecast(undecided=5),
        "never": Forecast(skipped=5),
    }
    mill.run()
    counts = {step: Counter(outcomes[step] for outcomes in mill.outcomes()) for step in ("bright", "never")}
    assert predicted() == {
        "made": Forecast(reused=5),
        "negative": Forecast(reused=3, skipped=2),
        "bright": Forecast(reused=counts["bright"]["computed"], skipped=counts["bright"]["skipped"]),
        "never": Forecast(skipped=5),
    }


class WatchedStore(FolderStore):
    """Knows which objects were asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.asked: dict[str, threading.Event] = defaultdict(threading.Event)

    def get(self, key: str, *, sha256: str | None = None) -> bytes:
        self.asked[key].set()
        return super().get(key, sha256=sha256)


@pytest.mark.parametrize("streams", [True, False])
def test_the_next_chunks_images_are_fetched_while_this_one_computes(tmp_path: Path, streams: bool) -> None:
    made = Mill(tmp_path, [resolved("made", Fill())], items(2))
    made.run()
    artefact = made.reports()[1].steps["made"].artefact
    assert artefact is not None
    store = WatchedStore(tmp_path / "out")

    class Waiting(Invert):
        def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
            if frames[0].item.name == "i0":
                assert store.asked[artefact.key].wait(PATIENCE), "the next chunk's image was not fetched meanwhile"
            return super().run(frames, context)

    mill = Mill(
        tmp_path,
        [resolved("made", Fill()), resolved("negative", Waiting())],
        items(2),
        chunk_size=1,
        streams=streams,
        store=store,
    )
    mill.ledger.items.reset(JOB)
    mill.run()
    assert mill.ledger.items.progress(JOB).done == 2


def test_a_store_that_refuses_stops_the_shard_and_leaves_items_pending(tmp_path: Path) -> None:
    class Refusing(FolderStore):
        def put(self, key: str, data: bytes, *, sha256: str, content_type: str) -> StoredObject:
            raise StoreError("the bucket is read-only: allow s3:PutObject")

    mill = Mill(tmp_path, [resolved("made", Fill())], items(50), chunk_size=10, store=Refusing(tmp_path / "out"))
    with pytest.raises(StoreError, match="allow s3:PutObject"):
        mill.run()
    assert mill.ledger.items.progress(JOB).pending == 50


def test_a_store_that_loses_every_image_is_given_up(tmp_path: Path) -> None:
    class Forgetful(FolderStore):
        def publish(self, source_key: str, key: str, *, content_type: str) -> None:
            raise MissingObject(source_key)

    mill = Mill(tmp_path, [resolved("made", Fill())], items(2), store=Forgetful(tmp_path / "out"))
    mill.run()
    for report in mill.reports():
        assert report.record.state is ItemState.FAILED
        assert report.record.error is not None
        assert "keeps losing" in report.record.error
