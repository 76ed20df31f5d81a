"""Paths through branches, loops and gates against those that are worked out by hand."""

from dataclasses import replace

import pytest
from PIL import Image

from benchmarks import branching
from benchmarks.branching import branching_items, counts, differences, expected_way
from benchmarks.job_files import RECIPES, write_job
from configs.settings.settings import Settings
from flows.job.plan import read_plan_request
from steps.facts import measure
from storage.ledger.records import ItemReport, ItemState
from tests.support.mill import Mill
from tests.support.null.plain_ways import Picture
from tests.support.null.steps import drawn

pytestmark = [pytest.mark.parts, pytest.mark.usefixtures("null_steps")]

ITEMS = 100


@pytest.fixture(scope="module")
def done(null_steps, tmp_path_factory) -> tuple[Mill, dict[str, ItemReport]]:
    """The items after their way through a shard."""
    folder = tmp_path_factory.mktemp("branching")
    recipe = RECIPES / "branching.yaml"
    job = write_job(folder, "job", recipe=recipe, output=str(folder / "out"), items=branching_items(ITEMS))
    request = read_plan_request(job, Settings(home=folder / "home"))
    mill = Mill(folder, request.program, request.items, recipe=request.recipe, chunk_size=32)
    mill.run()
    return mill, {report.record.item.name: report for report in mill.reports()}


def test_every_path_is_the_one_by_hand(done) -> None:
    mill, reports = done
    ways = {item["name"]: expected_way(item) for item in branching_items(ITEMS)}
    assert {name: list(differences(reports[name], way, mill.store)) for name, way in ways.items()} == {
        name: [] for name in ways
    }


def test_the_items_take_all_kinds_of_ways() -> None:
    found = counts({item["name"]: expected_way(item) for item in branching_items(1_000)})
    assert found["ways"] > 200
    assert min(found.values()) > 5
    assert {visit.partition("~")[0] for item in branching_items(300) for visit in expected_way(item).visits} == set(
        branching.STEPS
    )


class TestDifferences:
    """Of a path that is the one by hand, but for one thing."""

    @pytest.fixture
    def found(self, done):
        mill, reports = done
        items = {item["name"]: item for item in branching_items(ITEMS)}

        def of(name: str, way=lambda way: way, report=lambda report: report) -> list[str]:
            return list(differences(report(reports[name]), way(expected_way(items[name])), mill.store))

        return of

    @pytest.fixture
    def name(self) -> str:
        """Of an item with warnings and several poses."""
        return next(
            item["name"]
            for item in branching_items(ITEMS)
            if (way := expected_way(item)).warnings and way.final is not None and way.attempts["pose"] > 1
        )

    def test_an_attempt(self, found, name) -> None:
        def without_the_last(way):
            del way.visits[next(reversed([visit for visit in way.visits if visit.startswith("pose")]))]
            return way

        assert "expected base=" in found(name, without_the_last)[0]

    def test_a_fingerprint(self, found, name) -> None:
        def other(way):
            way.visits["base"] = "0" * 64
            return way

        assert "base=00000000" in found(name, other)[0]

    def test_a_step_that_turned_it_away(self, found, name) -> None:
        def fewer(report):
            return replace(report, steps={visit: entry for visit, entry in report.steps.items() if entry.artefact})

        assert "skipped []" in found(name, report=fewer)[0]

    def test_a_warning(self, found, name) -> None:
        (text,) = found(name, lambda way: replace(way, warnings=[]))
        assert "with warnings" in text

    def test_a_state(self, found, name) -> None:
        def quarantined(report):
            return replace(report, record=replace(report.record, state=ItemState.QUARANTINED))

        assert "quarantined with warnings" in found(name, report=quarantined)[0]

    def test_a_final(self, found, name) -> None:
        def other(way):
            return replace(way, final=replace(way.final, fingerprint="0" * 64))

        (text,) = found(name, other)
        assert text.startswith("the final is")

    def test_a_quarantine(self, found) -> None:
        items = branching_items(ITEMS)
        name = next(item["name"] for item in items if expected_way(item).final is None)
        assert "expected quarantine at seen" in found(name, lambda way: replace(way, error_step="seen"))[0]
        assert "expected ('too dark',)" in found(name, lambda way: replace(way, reasons=("too dark",)))[0]


@pytest.mark.parametrize("seed", range(5))
def test_brightness_by_hand_is_the_fact(seed) -> None:
    color = drawn("a key", seed)
    assert Picture("", color, "").brightness == measure(Image.new("RGB", (8, 8), color))["brightness"]
