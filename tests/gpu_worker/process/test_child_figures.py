"""Figures of one child after another: what is counted never goes back, what is measured goes with the child."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.process.worker_metrics import ChildFigures, ChildReports

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
    figures = ChildFigures()
    child = figures.open()
    child.take(report(3))
    child.take(report(5))
    assert figures.series() == {IMAGES: 5, RESIDENT: 1, BUCKET: 5}


def test_counts_go_on_and_measures_end_with_the_child() -> None:
    figures = ChildFigures()
    first = figures.open()
    first.take(report(5, resident=2))
    first.close()
    assert figures.series() == {IMAGES: 5, BUCKET: 5}
    second = figures.open()
    assert figures.series() == {IMAGES: 5, BUCKET: 5}
    second.take(report(1))
    assert figures.series() == {IMAGES: 6, RESIDENT: 1, BUCKET: 6}


def test_last_words_of_a_child_count_while_the_next_one_works() -> None:
    figures = ChildFigures()
    first, second = figures.open(), figures.open()
    second.take(report(1, resident=1))
    first.take(report(5, resident=4))
    assert figures.series() == {IMAGES: 6, RESIDENT: 1, BUCKET: 6}
    first.close()
    first.close()
    assert figures.series() == {IMAGES: 6, RESIDENT: 1, BUCKET: 6}


def test_the_age_is_that_of_the_newest_childs_last_report() -> None:
    seconds = 10.0
    figures = ChildFigures(lambda: seconds)
    assert figures.age() is None
    child = figures.open()
    child.take(report(1))
    seconds = 14.0
    assert figures.age() == 4
    figures.open()
    assert figures.age() is None


@given(st.lists(st.tuples(st.sampled_from(["open", "take", "close"]), st.integers(0, 2)), max_size=60))
def test_no_count_ever_goes_back(moves: list[tuple[str, int]]) -> None:
    figures = ChildFigures()
    children: list[tuple[ChildReports, list[float]]] = []
    before = 0.0
    for move, which in moves:
        if move == "open":
            children.append((figures.open(), [0.0]))
        elif children:
            child, count = children[which % len(children)]
            if move == "take":
                count[0] += which
                child.take(report(count[0]))
            else:
                child.close()
                children.remove((child, count))
        now = figures.series().get(IMAGES, 0.0)
        assert now >= before
        before = now
