"""The writer: objects before rows, bounded memory, and the first error stops it."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gpu_worker.monitor.failures import BrokenInstallation
from gpu_worker.shard.stored_images import NewArtefact
from gpu_worker.shard.writer import PendingOutcome, PendingResult, Writer
from steps.contract import Encoding
from storage.images.images import encode
from storage.images.png_recipe import ImageRecipe
from storage.images.thumbnails import thumbnail_key
from storage.ledger.records import ArtefactRecord, ItemResult, ItemState, Outcome
from storage.objects.artefacts import ArtefactStore, StoredObject, StoreError
from storage.objects.folder_store import FolderStore
from storage.objects.keys import artefact_key
from tests.support.fake_steps import Fill, items
from tests.support.mill import JOB, Mill, resolved
from tests.support.waiting import PATIENCE

RECIPE = ImageRecipe(())


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def new(number: int, color: str = "red", encoding: Encoding | None = None, size: int = 4) -> NewArtefact:
    image = Image.new("RGBA", (size, 4), color)
    return NewArtefact(f"{number:064x}", "fill", image, encoding or Encoding(), RECIPE, done({"number": number}))


class GatedStore(FolderStore):
    """Blocks `put` until the gate opens; counts those that wait."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)

    def put(self, key: str, data: bytes, *, sha256: str, content_type: str) -> StoredObject:
        self.entered.release()
        assert self.gate.wait(PATIENCE)
        return super().put(key, data, sha256=sha256, content_type=content_type)


class RefusingStore(FolderStore):
    """Takes a few objects, then refuses for good."""

    def __init__(self, folder: Path, takes: int) -> None:
        super().__init__(folder)
        self.left = takes
        self._guard = threading.Lock()

    def put(self, key: str, data: bytes, *, sha256: str, content_type: str) -> StoredObject:
        with self._guard:
            self.left -= 1
            if self.left < 0:
                raise StoreError("the bucket is read-only: allow s3:PutObject")
        return super().put(key, data, sha256=sha256, content_type=content_type)


class Desk:
    """A started job with two steps, and writers for it."""

    def __init__(self, folder: Path) -> None:
        self.mill = Mill(folder, [resolved("a", Fill()), resolved("b", Fill())], items(20))
        self.job = self.mill.start()
        self.lost: list[tuple[int, ArtefactRecord]] = []

    def writer(self, store: ArtefactStore | None = None, *, queue: int = 64) -> Writer:
        return Writer(
            store=store or self.mill.store,
            ledger=self.mill.ledger,
            job=self.job,
            threads=2,
            queue=queue,
            on_lost=lambda index, artefact: self.lost.append((index, artefact)),
        )


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.mill.ledger.close()


def test_a_batch_is_recorded_once_its_images_are_stored(desk: Desk, tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "out")
    with desk.writer(store) as writer:
        batch = writer.open_batch("a")
        written = writer.write(new(0))
        batch.add(
            PendingOutcome(
                0, Outcome.COMPUTED, 0.5, written, end=PendingResult("i0", ItemResult(ItemState.DONE), {"a": written})
            )
        )
        batch.close()
        assert store.entered.acquire(timeout=10)
        assert desk.mill.outcomes()[0] == {}
        store.gate.set()
        writer.flush()
        report = desk.mill.reports()[0]
        assert report.record.state is ItemState.DONE
        assert report.record.finals == {"a": f"{JOB}/final/i0.png"}
        assert store.exists(f"{JOB}/final/i0.png")
        assert report.steps["a"].artefact == written.result()


def test_a_large_image_is_stored_with_a_thumbnail_and_a_small_one_without(desk: Desk, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    with desk.writer(store) as writer:
        large, small = writer.write(new(0, size=900)).result(), writer.write(new(1, size=400)).result()
    assert store.exists(thumbnail_key(JOB, large.fingerprint))
    assert not store.exists(thumbnail_key(JOB, small.fingerprint))


def test_a_blocked_store_blocks_the_producer(desk: Desk, tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "out")
    progress = threading.Semaphore(0)

    def produce(writer: Writer) -> None:
        for number in range(12):
            writer.write(new(number))
            progress.release()

    with desk.writer(store, queue=5) as writer, ThreadPoolExecutor(1) as threads:
        producing = threads.submit(produce, writer)
        for _ in range(5):
            assert progress.acquire(timeout=10)
        assert not progress.acquire(timeout=0.3)  # the sixth waits
        store.gate.set()
        producing.result(timeout=10)


def test_the_first_error_of_the_store_stops_everything(desk: Desk, tmp_path: Path) -> None:
    store = RefusingStore(tmp_path / "out", takes=3)

    def fill(writer: Writer) -> None:
        batch = writer.open_batch("a")
        for number in range(20):
            batch.add(PendingOutcome(number, Outcome.COMPUTED, artefact=writer.write(new(number))))
        batch.close()
        writer.flush()

    with pytest.raises(StoreError, match="allow s3:PutObject"), desk.writer(store, queue=4) as writer:
        fill(writer)
    assert store.left < 0
    assert all(not outcomes for outcomes in desk.mill.outcomes())


def test_a_package_that_is_not_installed_stops_everything_and_fails_no_item(desk: Desk) -> None:
    facts: Future[Any] = Future()
    facts.set_exception(ModuleNotFoundError("No module named 'tiles'"))
    with pytest.raises(BrokenInstallation, match="No module named 'tiles'"), desk.writer() as writer:
        batch = writer.open_batch("a")
        batch.add(PendingOutcome(0, Outcome.COMPUTED, 0.5, writer.write(replace(new(0), facts=facts))))
        batch.close()
        writer.flush()
    assert desk.mill.outcomes()[0] == {}


def test_nothing_is_recorded_that_could_be_lost_with_the_power(desk: Desk, tmp_path: Path) -> None:
    class Unsafe(FolderStore):
        def sync(self) -> None:
            raise StoreError("the disk is full")

    with pytest.raises(StoreError, match="disk is full"), desk.writer(Unsafe(tmp_path / "out")) as writer:
        batch = writer.open_batch("a")
        batch.add(PendingOutcome(0, Outcome.COMPUTED, artefact=writer.write(new(0))))
        batch.close()
        writer.flush()
    assert desk.mill.outcomes()[0] == {}


def test_a_ledger_that_fails_stops_the_writer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(Exception):
        pass

    def fail(*args: Any, **kwargs: Any) -> None:
        raise FullDisk("no space left")

    monkeypatch.setattr(desk.mill.ledger.steps, "record", fail)
    with pytest.raises(FullDisk), desk.writer() as writer:
        batch = writer.open_batch("a")
        batch.add(PendingOutcome(0, Outcome.SKIPPED))
        batch.close()
        writer.flush()


def test_batches_are_recorded_in_the_order_they_were_opened(desk: Desk, tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "out")
    with desk.writer(store) as writer:
        first, second = writer.open_batch("a"), writer.open_batch("b")
        second.add(PendingOutcome(0, Outcome.SKIPPED))
        second.close()
        first.add(PendingOutcome(0, Outcome.COMPUTED, artefact=writer.write(new(0))))
        first.close()
        assert store.entered.acquire(timeout=10)
        assert desk.mill.outcomes()[0] == {}
        store.gate.set()
        writer.flush()
    assert desk.mill.outcomes()[0] == {"a": "computed", "b": "skipped"}


@pytest.fixture
def recorded(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once something is recorded, which does not wait for a whole batch."""
    monkeypatch.setattr("gpu_worker.shard.writer.RECORD_SECONDS", 0.05)
    recorded = threading.Event()
    record = desk.mill.ledger.steps.record

    def watched(*args: Any) -> None:
        record(*args)
        recorded.set()

    monkeypatch.setattr(desk.mill.ledger.steps, "record", watched)
    return recorded


def test_a_slow_batch_is_recorded_on_the_way(desk: Desk, recorded: threading.Event) -> None:
    with desk.writer() as writer:
        batch = writer.open_batch("a")
        batch.add(PendingOutcome(0, Outcome.COMPUTED, artefact=writer.write(new(0))))
        assert recorded.wait(PATIENCE)
        assert desk.mill.outcomes()[0] == {"a": "computed"}
        batch.add(PendingOutcome(1, Outcome.SKIPPED))
        batch.close()
    assert desk.mill.outcomes()[1] == {"a": "skipped"}


def test_an_item_does_not_end_before_its_last_step_is_recorded(
    desk: Desk, recorded: threading.Event, tmp_path: Path
) -> None:
    """Its final image is an earlier candidate, and in the store by then."""
    store = GatedStore(tmp_path / "out")
    with desk.writer(store) as writer:
        store.gate.set()
        best = writer.write(new(0))
        best.result()
        store.gate.clear()
        batch = writer.open_batch("b")
        batch.add(PendingOutcome(0, Outcome.COMPUTED, artefact=writer.write(new(1))))
        batch.add(
            PendingOutcome(0, None, artefact=best, end=PendingResult("i0", ItemResult(ItemState.DONE), {"a": best}))
        )
        batch.add(PendingOutcome(1, Outcome.SKIPPED))
        batch.close()
        assert recorded.wait(PATIENCE)
        assert desk.mill.outcomes()[:2] == [{}, {"b": "skipped"}]
        assert desk.mill.reports()[0].record.state is ItemState.PENDING
        store.gate.set()
    assert desk.mill.outcomes()[0] == {"b": "computed"}
    assert desk.mill.reports()[0].record.state is ItemState.DONE


def test_other_bytes_under_the_fingerprint_are_kept(desk: Desk) -> None:
    theirs = encode(Image.new("RGB", (4, 4), "blue"), format="png", quality=90, lossless=True, recipe=RECIPE)
    key = artefact_key(f"{1:064x}", "png")
    desk.mill.store.put(key, theirs.data, sha256=theirs.sha256, content_type=theirs.content_type)
    with desk.writer() as writer:
        record = writer.write(new(1, "red")).result()
    assert desk.mill.store.get(key) == theirs.data
    assert (record.sha256, record.size) == (theirs.sha256, len(theirs.data))
    assert record.facts["number"] == 1
    assert record.facts["brightness"] == pytest.approx(29 / 255, abs=0.01)  # of blue


def test_a_damaged_object_under_the_fingerprint_is_made_again(desk: Desk) -> None:
    key = artefact_key(f"{1:064x}", "png")
    desk.mill.store.replace(key, b"half an im", content_type="image/png")
    with desk.writer() as writer:
        record = writer.write(new(1)).result()
    assert len(desk.mill.store.get(key, sha256=record.sha256)) == record.size


def test_an_image_that_cannot_be_encoded_fails_its_item_alone(desk: Desk) -> None:
    with desk.writer() as writer:
        first, second = writer.open_batch("a"), writer.open_batch("b")
        for number, encoding in enumerate((Encoding("jpeg"), Encoding("png"))):  # JPEG holds no alpha
            written = writer.write(new(number, encoding=encoding))
            first.add(PendingOutcome(number, Outcome.COMPUTED, artefact=written))
            end = PendingResult(f"i{number}", ItemResult(ItemState.DONE), {"a": written})
            second.add(PendingOutcome(number, Outcome.SKIPPED, end=end))
        first.close()
        second.close()
    failed, fine = desk.mill.reports()[:2]
    assert failed.record.state is ItemState.FAILED
    assert failed.record.error is not None
    assert "transparency" in failed.record.error
    assert failed.record.error_step == "a"
    assert {step: entry.outcome.value for step, entry in failed.steps.items()} == {"a": "failed"}
    assert fine.record.state is ItemState.DONE


def test_a_final_image_that_is_gone_is_reported_and_its_item_stays_open(desk: Desk) -> None:
    with desk.writer() as writer:
        record = writer.write(new(0)).result()
        desk.mill.store.delete(record.key)
        batch = writer.open_batch("a")
        batch.add(
            PendingOutcome(
                0,
                Outcome.REUSED,
                artefact=done(record),
                end=PendingResult("i0", ItemResult(ItemState.DONE), {"a": done(record)}),
            )
        )
        batch.close()
        writer.flush()
    assert desk.lost == [(0, record)]
    assert desk.mill.reports()[0].record.state is ItemState.PENDING


def test_what_is_computed_is_recorded_even_if_the_shard_stops(desk: Desk) -> None:
    def stop() -> None:
        raise RuntimeError("the device is lost")

    with pytest.raises(RuntimeError, match="device is lost"), desk.writer() as writer:
        batch = writer.open_batch("a")
        batch.add(PendingOutcome(0, Outcome.COMPUTED, artefact=writer.write(new(0))))
        stop()
    assert desk.mill.outcomes()[0] == {"a": "computed"}


def test_a_halted_writer_takes_nothing_more_and_writes_what_it_has(desk: Desk, tmp_path: Path) -> None:
    class Halted(Exception):
        pass

    store = GatedStore(tmp_path / "out")
    with pytest.raises(Halted), desk.writer(store) as writer:
        batch = writer.open_batch("a")
        batch.add(PendingOutcome(0, Outcome.COMPUTED, artefact=writer.write(new(0))))
        writer.halt(Halted())
        with pytest.raises(Halted):
            batch.add(PendingOutcome(1, Outcome.SKIPPED))
        store.gate.set()
        writer.write(new(1))
    assert [desk.mill.outcomes()[index] for index in (0, 1)] == [{"a": "computed"}, {}]


def test_a_producer_that_waits_for_room_is_stopped_by_the_halt(desk: Desk, tmp_path: Path) -> None:
    store = GatedStore(tmp_path / "out")
    with desk.writer(store, queue=1) as writer, ThreadPoolExecutor(1) as threads:
        writer.write(new(0))
        waiting = threads.submit(writer.write, new(1))
        assert store.entered.acquire(timeout=10)
        writer.halt(RuntimeError("the job is cancelled"))
        with pytest.raises(RuntimeError, match="cancelled"):
            waiting.result(timeout=10)
        store.gate.set()
