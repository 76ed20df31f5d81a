"""What the worker's code counts, on real shards, and how it is told and shown."""

import queue
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from gpu_worker.device import telemetry
from gpu_worker.device.micro_batch import run_in_batches
from gpu_worker.device.telemetry import ColdStart
from gpu_worker.monitor.metric_table import TABLE
from gpu_worker.process.worker_metrics import ROWS, WorkerMetrics
from steps.contract import MemoryFallback
from storage.objects.artefacts import note_retry
from tests.gpu_worker.device.small_pool import A, make_pool
from tests.support.fake_steps import Fill, Invert, NeedsMemory, PlainContext, frames, items
from tests.support.mill import Mill, resolved
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE


class Counted:
    """What was added to the process's figures since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def __getitem__(self, name: str) -> dict[tuple[str, ...], float]:
        """By the values of the labels, in the order of their names; what did not change is left out."""
        now = self._now()
        changes = {key: value - self._before.get(key, 0.0) for key, value in now.items() if key[0] == name}
        return {tuple(labels): change for (_, *labels), change in changes.items() if change}

    @staticmethod
    def _now() -> dict[tuple[str, ...], float]:
        return {
            (sample.name, *(sample.labels[label] for label in sorted(sample.labels))): sample.value
            for sample in telemetry.sample()
        }


@pytest.fixture
def counted() -> Counted:
    return Counted()


# -- counting ----------------------------------------------------------------------------------------------------------
def test_outcomes_and_ends_are_counted_as_the_ledger_records_them(tmp_path: Path, counted: Counted) -> None:
    steps = [
        resolved("made", Fill(fail=("i1",))),
        resolved("negative", Invert(), when="item.seed > 2"),
        resolved("again", Invert()),
    ]
    Mill(tmp_path, steps, items(5), chunk_size=2).run()
    assert counted["pixelmill_images_total"] == {
        ("computed", "fill"): 4,
        ("failed", "fill"): 1,
        ("computed", "invert"): 2 + 4,
        ("skipped", "invert"): 2,
    }
    assert counted["pixelmill_items_total"] == {("done",): 4, ("failed",): 1}
    assert counted["pixelmill_image_seconds_count"] == {("fill",): 4, ("invert",): 6}


def test_what_is_found_again_is_not_counted_as_compute_time(tmp_path: Path, counted: Counted) -> None:
    mill = Mill(tmp_path, [resolved("made", Fill())], items(3))
    mill.run()
    mill.ledger.items.reset("job")
    mill.run()
    assert counted["pixelmill_images_total"] == {("computed", "fill"): 3, ("reused", "fill"): 3}
    assert counted["pixelmill_image_seconds_count"] == {("fill",): 3}


def test_what_is_about_to_be_counted_is_told_as_zero(tmp_path: Path) -> None:
    class New(Fill):
        pass

    with Mill(tmp_path, [resolved("made", New())], items(1)).open():
        told = Counted._now()
    for outcome in ("computed", "reused", "skipped", "failed"):
        assert told["pixelmill_images_total", outcome, "new"] == 0
    assert told["pixelmill_image_seconds_count", "new"] == 0


def test_halves_and_reliefs_are_counted(counted: Counted) -> None:
    step = NeedsMemory(fits=2, needs=MemoryFallback.OFFLOAD, has=(MemoryFallback.TILE, MemoryFallback.OFFLOAD))
    list(run_in_batches(step, frames(2), PlainContext(), 2, name="upscale", free_memory=lambda: True))
    assert counted["pixelmill_batches_halved_total"] == {("memory", "upscale"): 1}
    # The second image begins where the first one ended, one fallback weaker.
    assert counted["pixelmill_reliefs_total"] == {
        ("free", "upscale"): 1,
        ("tile", "upscale"): 1,
        ("offload", "upscale"): 2,
    }


def test_a_search_for_the_item_at_fault_is_no_lack_of_memory(counted: Counted) -> None:
    list(run_in_batches(Fill(fail=("i0",)), frames(4), PlainContext(), 4, name="fill"))
    assert counted["pixelmill_batches_halved_total"] == {("failure", "fill"): 2}


def test_loads_and_residents_are_told_by_model(counted: Counted) -> None:
    pool = make_pool()
    pool.get(A)
    pool.get(A)
    assert counted["pixelmill_model_loads_total"] == {("a/diffusion",): 1}
    assert counted["pixelmill_model_load_seconds_total"].keys() == {("a/diffusion",)}
    assert counted["pixelmill_model_memory_bytes"] == {("a/diffusion",): 40 * 2**20}
    pool.evict_idle()
    assert counted["pixelmill_model_memory_bytes"] == {}


def test_only_steps_with_models_keep_the_device_busy(counted: Counted) -> None:
    list(run_in_batches(Fill(seconds=0.01), frames(1), PlainContext(), 1))
    assert counted["pixelmill_device_busy_seconds_total"] == {}


def test_the_work_in_hand_counts_as_busy() -> None:
    now = 0.0
    clock = telemetry.BusyClock(lambda: now)
    with clock.busy():
        now = 3.0
        with clock.busy():
            now = 5.0
            assert clock.seconds() == 5
        now = 6.0
    now = 9.0
    assert clock.seconds() == 6


def test_repeated_requests_to_the_store_are_told(counted: Counted) -> None:
    note_retry()
    assert counted["pixelmill_store_retries_total"] == {(): 1}


def test_every_figure_has_its_row_in_the_table(tmp_path: Path) -> None:
    Mill(tmp_path, [resolved("made", Fill())], items(1)).run()
    for sample in telemetry.sample():
        assert sample.name in ROWS
        assert set(sample.labels) - {"le"} == set(ROWS[sample.name].labels)


# -- the start ---------------------------------------------------------------------------------------------------------
def test_a_start_is_timed_phase_by_phase_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "gpu_worker")
    now = 100.0
    start = ColdStart(lambda: now)
    start.begin(spawned=100.0, started=100.2)
    now = 103.0
    start.imported()
    start.model_loaded("starter/diffusion", 4.0)
    now = 107.5
    start.ready()
    now = 200.0
    start.run_began()
    start.model_loaded("starter/upscaler", 0.25)
    now = 201.5
    start.image_stored()
    start.image_stored()
    start.model_loaded("starter/cutout", 9.0)
    assert caplog.messages == [
        "cold start: process 0.20 s, imports 2.80 s, models 4.50 s, ready 7.50 s, first image 1.50 s, "
        "load of starter/diffusion 4.00 s, load of starter/upscaler 0.25 s"
    ]
    assert ("load", "starter/upscaler", 0.25) in start.durations()


def test_a_flow_run_without_images_leaves_the_first_image_to_the_next() -> None:
    now = 0.0
    start = ColdStart(lambda: now)
    start.run_began()
    now = 50.0
    start.run_began()
    now = 51.0
    start.image_stored()
    assert ("first_image", "", 1.0) in start.durations()


# -- telling -----------------------------------------------------------------------------------------------------------
def test_figures_are_told_soon_after_they_change_and_once_more_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "REPORT_SECONDS", 600)
    monkeypatch.setattr(telemetry, "REPORT_SPACING_SECONDS", 0)
    told: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
    with telemetry.reporting(told.put):
        telemetry.step_recorded("fill", [], [])
        assert told.get(timeout=PATIENCE)
        assert told.empty()
    assert told.get(timeout=PATIENCE)


def test_a_parent_that_is_gone_ends_the_telling() -> None:
    tried = threading.Event()

    def send(_: object) -> None:
        tried.set()
        raise BrokenPipeError

    with telemetry.reporting(send):
        telemetry.step_recorded("fill", [], [])
        assert tried.wait(PATIENCE)


# -- the page ----------------------------------------------------------------------------------------------------------
def worker_metrics(**settings: Any) -> WorkerMetrics:
    given = {"metrics_port": free_port(), "price_per_hour": 7.2} | settings
    return WorkerMetrics(Settings.model_validate(given), worker="w-1", pool="gpu")


@pytest.fixture
def metrics() -> Iterator[WorkerMetrics]:
    metrics = worker_metrics()
    yield metrics
    metrics.close()


def page(metrics: WorkerMetrics, accept: str = "text/plain") -> str:
    url = f"http://127.0.0.1:{metrics._settings.metrics_port}/metrics"
    request = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        return str(answer.read().decode())


def values(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page_shows_what_parent_and_child_know(metrics: WorkerMetrics) -> None:
    metrics.serve()
    metrics.child_started(1)
    reports = metrics.children.open()
    metrics.children.update(reports, telemetry.sample())
    metrics.child_ready()
    metrics.run_began()
    metrics.queue_counted(3)
    seen = values(page(metrics))
    assert seen["pixelmill_child_up"] == seen["pixelmill_child_starts_total"] == seen["pixelmill_shard_running"] == 1
    assert seen["pixelmill_pool_waiting_runs[gpu]"] == 3
    assert seen["pixelmill_store_retries_total"] >= 0
    metrics.run_ended("completed")
    metrics.child_ended()
    metrics.children.close(reports)
    seen = values(page(metrics))
    assert seen["pixelmill_shard_runs_total[completed]"] == 1
    assert seen["pixelmill_shard_runs_total[crashed]"] == 0
    assert seen["pixelmill_child_up"] == seen["pixelmill_shard_running"] == 0
    assert "pixelmill_models_resident" not in seen


def test_the_page_is_of_the_table_alone_and_valid_in_both_formats(metrics: WorkerMetrics) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics

    for step in ("fill", "invert"):
        telemetry.step_recorded(step, [], [])
    metrics.serve()
    metrics.children.update(metrics.children.open(), telemetry.sample())
    families = list(text_string_to_metric_families(page(metrics)))
    names = [f"{family.name}_total" if family.type == "counter" else family.name for family in families]
    assert names == [row.name for row in TABLE]
    assert list(open_metrics(page(metrics, "application/openmetrics-text; version=1.0.0")))


def test_the_queue_is_not_shown_once_nobody_knows_it_any_more() -> None:
    now = 0.0
    metrics = WorkerMetrics(Settings(), worker="w", pool="gpu", clock=lambda: now)
    metrics.queue_counted(3)
    queue_of_pool = ("pixelmill_pool_waiting_runs", (("pool", "gpu"),))
    assert metrics._own()[queue_of_pool] == 3
    now = 61.0
    assert queue_of_pool not in metrics._own()


def test_an_hour_costs_its_price() -> None:
    now = 0.0
    metrics = WorkerMetrics(Settings(price_per_hour=2.5), worker="w", pool="gpu", clock=lambda: now)
    now = 1800.0
    assert metrics._own()["pixelmill_cost_total", ()] == 1.25


def test_without_a_port_nothing_listens() -> None:
    metrics = worker_metrics(metrics_port=0)
    metrics.serve()
    assert not metrics.is_wanted
    assert metrics._server is None
    metrics.close()


def test_a_port_that_is_taken_is_said_with_its_setting(metrics: WorkerMetrics) -> None:
    metrics.serve()
    second = worker_metrics(metrics_port=metrics._settings.metrics_port)
    with pytest.raises(InvalidInput) as refusal:
        second.serve()
    (problem,) = refusal.value.problems
    assert problem.path == "PIXELMILL_METRICS_PORT"
    assert "Address already in use" in problem.message
    assert "a port of its own" in problem.message
    metrics.close()
    second.serve()
    threading.Thread(target=second.close).start()


def test_many_may_ask_while_a_child_tells(metrics: WorkerMetrics) -> None:
    metrics.serve()
    reports = metrics.children.open()
    with ThreadPoolExecutor(4) as pool:
        pages = [pool.submit(page, metrics) for _ in range(20)]
        for _ in range(100):
            metrics.children.update(reports, telemetry.sample())
        assert all("pixelmill_worker_info" in each.result() for each in pages)
