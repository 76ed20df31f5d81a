"""Metrics of one child after another: what is counted never goes back, what is measured goes with the child."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.process.worker_metrics import ChildMetrics, ChildReports

IMAGES = ("pixelmill_images_total", (("outcome", "computed"), ("step", "generate")))
RESIDENT = ("pixelmill_models_resident", ())
BUCKET = ("pixelmill_image_seconds_bucket", (("le", "1.0"), ("step", "generate")))


def report(images: float, resident: float = 1) -> list[Any]:
    return [
        ["pixelmill_images_total", {"step": "generate", "outcome": "computed"}, images],
        ["pixelmill_models_resident", {}, resident],
        ["pixelmill_image_seconds_bucket", {"step": "generate", "le": "1.0"}, images],
        ["python_gc_objects_total", {}, 7],
    ]


def test_a_report_replaces_the_one_before() -> None:
    metrics = ChildMetrics()
    child = metrics.open()
    metrics.update(child, report(3))
    metrics.update(child, report(5))
    assert metrics.series() == {IMAGES: 5, RESIDENT: 1, BUCKET: 5}


def test_counts_go_on_and_measures_end_with_the_child() -> None:
    metrics = ChildMetrics()
    first = metrics.open()
    metrics.update(first, report(5, resident=2))
    metrics.close(first)
    assert metrics.series() == {IMAGES: 5, BUCKET: 5}
    second = metrics.open()
    assert metrics.series() == {IMAGES: 5, BUCKET: 5}
    metrics.update(second, report(1))
    assert metrics.series() == {IMAGES: 6, RESIDENT: 1, BUCKET: 6}


def test_last_words_of_a_child_count_while_the_next_one_works() -> None:
    metrics = ChildMetrics()
    first, second = metrics.open(), metrics.open()
    metrics.update(second, report(1, resident=1))
    metrics.update(first, report(5, resident=4))
    assert metrics.series() == {IMAGES: 6, RESIDENT: 1, BUCKET: 6}
    metrics.close(first)
    metrics.close(first)
    assert metrics.series() == {IMAGES: 6, RESIDENT: 1, BUCKET: 6}


def test_the_age_is_that_of_the_newest_childs_last_report() -> None:
    seconds = 10.0
    metrics = ChildMetrics(lambda: seconds)
    assert metrics.age() is None
    child = metrics.open()
    metrics.update(child, report(1))
    seconds = 14.0
    assert metrics.age() == 4
    metrics.open()
    assert metrics.age() is None


@given(st.lists(st.tuples(st.sampled_from(["open", "take", "close"]), st.integers(0, 2)), max_size=60))
def test_no_count_ever_goes_back(moves: list[tuple[str, int]]) -> None:
    metrics = ChildMetrics()
    children: list[tuple[ChildReports, list[float]]] = []
    before = 0.0
    for move, which in moves:
        if move == "open":
            children.append((metrics.open(), [0.0]))
        elif children:
            child, count = children[which % len(children)]
            if move == "take":
                count[0] += which
                metrics.update(child, report(count[0]))
            else:
                metrics.close(child)
                children.remove((child, count))
        now = metrics.series().get(IMAGES, 0.0)
        assert now >= before
        before = now
