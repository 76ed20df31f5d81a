"""Each benchmark at its tiniest: that it runs to its end and measures all that it has bars for. No figure counts."""

import math
from contextlib import nullcontext

import pytest

from benchmarks import (
    added_cost,
    bare_loop,
    branching,
    facts_cost,
    finished_job,
    first_image,
    large_networks,
    many_workers,
    memory,
    other_ways,
)
from benchmarks.contract import Bench, Benchmark, Skipped
from benchmarks.sdxl_networks import TINY

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run(benchmark: Benchmark, bench: Bench) -> dict[str, float]:
    """All measures; of a part that this machine lacks, none."""
    measures: dict[str, float] = {}
    try:
        for group in benchmark.measure(bench):
            measures |= group
    except Skipped:
        assert measures
    assert all(math.isfinite(value) for value in measures.values())
    return measures


@pytest.fixture
def bench(tmp_path) -> Bench:
    return Bench(tmp_path, scale=0.001)


def test_bare_loop(bench, monkeypatch):
    monkeypatch.setattr(bare_loop, "WARM_UP", 7)
    measures = run(bare_loop.BENCHMARK, bench)
    assert bare_loop.BARS.keys() <= measures.keys()
    assert measures["ours_over_bare"] == pytest.approx(measures["ours_images_per_s"] / measures["bare_images_per_s"])


def test_added_cost(bench, monkeypatch):
    monkeypatch.setattr(added_cost, "STORES", ("s3",))
    measures = run(added_cost.BENCHMARK, bench)
    assert {name for name in added_cost.BARS if name.startswith("s3")} <= measures.keys()
    roles = ("command", "server", "worker", "child", "s3")
    assert measures["s3_50k_cpu_ms_all"] == pytest.approx(sum(measures[f"s3_50k_cpu_ms_{role}"] for role in roles))


def test_memory(tmp_path):
    measures = run(memory.BENCHMARK, Bench(tmp_path, scale=0.01))
    assert memory.BARS.keys() <= measures.keys()
    assert all(measures[f"{name}_mb_after_first"] > 10 for name in memory.ROLES.values())


def test_finished_job(bench, monkeypatch):
    monkeypatch.setattr(finished_job, "REPEATS", 1)
    monkeypatch.setattr(finished_job, "STORES", ("folder",))
    measures = run(finished_job.BENCHMARK, bench)
    assert measures["folder_models_loaded"] == measures["folder_heavy_imports"] == 0
    assert measures["folder_plan_seconds"] > 0


def test_first_image(bench, monkeypatch):
    monkeypatch.setattr(first_image, "COLD_TIMES", 1)
    monkeypatch.setattr(first_image, "WARM_TIMES", 1)
    measures = run(first_image.BENCHMARK, bench)
    assert all(
        0 < measures[f"{way}_overhead_seconds"] < measures[f"{way}_seconds"] for way in ("cold", "command", "warm")
    )


def test_many_workers(bench, monkeypatch):
    monkeypatch.setattr(many_workers, "FLEETS", (1, 2))
    monkeypatch.setattr(many_workers, "WARM_UP_SECONDS", 3.0)
    measures = run(many_workers.BENCHMARK, bench)
    assert measures["linear_at_1"] == 1
    assert measures["linear_at_2"] == pytest.approx(measures["images_per_s_at_2"] / measures["images_per_s_at_1"] / 2)


def test_other_ways(bench, monkeypatch):
    monkeypatch.setattr(other_ways, "WARM_UP", 7)
    measures = run(other_ways.BENCHMARK, bench)
    # Seven items: each is generated and enlarged; five are cut out, and perhaps repaired; two of them get a scene.
    assert measures["prefect_task_runs"] == 7 + 7 + 5 + 5 + 2
    assert measures["ours_images_per_s"] > 0


def test_branching(tmp_path):
    bench = Bench(tmp_path, scale=0.03)
    measures = run(branching.BENCHMARK, bench)
    assert branching.BARS.keys() <= measures.keys()
    assert measures["paths_compared"] == 300
    assert measures["differences"] == 0, bench.details["differences"]
    assert all(measures[f"items_{what}"] for what in ("made_again", "repaired", "quarantined", "warned"))


def test_facts_cost(bench):
    measures = run(facts_cost.BENCHMARK, bench)
    assert facts_cost.BARS.keys() <= measures.keys()
    assert measures["facts_per_image"] > 20


def test_large_networks_on_a_cpu(tmp_path):
    setting = large_networks.Setting(
        TINY, "cpu", "float32", items=4, batch=2, steps=2, load=lambda: nullcontext([0, 50, 100, 0])
    )
    measures: dict[str, float] = {}
    for group in large_networks.compare(Bench(tmp_path), setting):
        measures |= group
    assert large_networks.BARS.keys() <= measures.keys()
    assert measures["device_busy"] == 0.75
