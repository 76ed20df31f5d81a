"""What is told of an item's way, on ledgers that real shards wrote."""

import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from configs.documents.fields import Item
from configs.documents.problems import InvalidInput
from configs.documents.yaml_source import parse_yaml
from configs.recipe.recipe import Recipe, RecipeStep
from flows.cli.items import describe, explain_command, find_item
from flows.explain.document import explanation_document
from flows.explain.explain import Explainer, Explanation
from flows.explain.lines import lines_of
from gpu_worker.walk.trace import Branched, Chosen, Gated, Looped, Switched, nodes_of
from steps.recipe import compile_recipe, resolve_program
from steps.recipe.program import Program
from storage.ledger.records import ItemState, Outcome, Review, ReviewVerdict
from tests.support import ROOT
from tests.support.mill import Mill
from tests.support.null.jobs import NOW, brightness_of, job_of, null_job, reported
from tests.support.null.recipes import some_items
from tests.support.null.recipes_at_random import recipe_at_random, walk

pytestmark = pytest.mark.usefixtures("null_steps")

RECIPES = 60
DOC = (ROOT / "docs" / "explain.md").read_text(encoding="utf-8")


def explained(mill: Mill, index: int = 0) -> Explanation:
    return Explainer(mill.ledger.jobs.get("job")).explain(mill.ledger.items.report("job", index))


def printed(explanation: Explanation, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(describe(explanation))
    return console.file.getvalue()


def random_recipes() -> Iterator[tuple[dict[str, Any], Recipe, Program]]:
    """Every construct in every other; those that come to too many visits are left out."""
    for seed in range(RECIPES):
        document = recipe_at_random(seed)
        recipe = Recipe.model_validate(document)
        if (program := compile_recipe(recipe).program) is not None:
            yield document, recipe, program


def check_way(explanation: Explanation, document: dict[str, Any]) -> None:
    """It has every image that was made and no other, in order, and ends as the item does."""
    report = explanation.report
    made = [visit.visit for visit in explanation.visits if visit.state in ("computed", "reused")]
    assert sorted(made) == sorted(visit for visit, entry in report.steps.items() if entry.artefact is not None)
    assert explanation.unplaced == {}
    expected = walk(document, report.record.item)
    assert [visit.step for visit in explanation.visits] == [step for step, _ in expected.visits]
    assert set(report.record.finals) <= {visit.visit for visit in explanation.visits if visit.counts}
    verdicts = Counter(gate.verdict for gate in explanation.gates)
    rejected = report.record.state is ItemState.QUARANTINED
    assert verdicts["quarantined"] <= rejected <= verdicts["quarantined"] + verdicts["dropped"]
    assert verdicts["warned"] >= len(report.record.warnings)
    assert json.loads(json.dumps(explanation_document(explanation)))["state"] == report.record.state.value
    assert lines_of(explanation)


@pytest.mark.parts
def test_the_way_is_the_one_that_was_taken(tmp_path: Path) -> None:
    for document, recipe, program in random_recipes():
        explainer = Explainer(job_of(recipe))
        for item in some_items(4):
            check_way(explainer.explain(reported(item, program)), document)


@pytest.mark.parts
def test_so_it_is_on_the_ledger_of_a_shard(tmp_path: Path) -> None:
    some = [document for document, _, program in random_recipes() if 15 < len(program.visits) < 40]
    for number, document in enumerate(some[:3]):
        folder = tmp_path / str(number)
        folder.mkdir()
        mill = null_job(folder, document, some_items(3))
        explainer = Explainer(mill.ledger.jobs.get("job"))
        for report in mill.reports():
            check_way(explainer.explain(report), document)
        mill.ledger.close()


def test_what_follows_from_a_decision_is_below_it(tmp_path: Path) -> None:
    steps = [
        {"id": "base", "step": "null_generate"},
        {
            "when": "vars.size < 2",
            "steps": [
                {
                    "switch": "vars.kind",
                    "cases": {"a": [{"id": "again", "step": "null_pass", "when": "item.seed > 5"}]},
                    "default": [],
                }
            ],
            "else": [{"id": "other", "step": "null_pass"}],
        },
    ]
    way = explained(null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1))).way
    branch = way[1]
    assert isinstance(branch, Branched)
    assert (branch.path, branch.text, branch.met, branch.seen) == (
        "steps[1]",
        "vars.size < 2",
        True,
        {"vars.size": 0.0},
    )
    [switch] = branch.way
    assert isinstance(switch, Switched)
    assert (switch.case, switch.path) == ("a", "steps[1].steps[0]")
    [when] = switch.way
    assert isinstance(when, Branched)
    assert (when.of, when.met, when.seen, when.way) == ("again", False, {"item.seed": 0}, [])


def test_a_gate_has_its_attempts_with_their_seeds_and_changes(tmp_path: Path) -> None:
    base = {"id": "base", "step": "null_generate", "require": ["facts.this.brightness < 0"], "size": 8}
    base["on_fail"] = {"retry": 2, "change": {"base": {"size": [9]}}, "then": "warn"}
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": [base]}, some_items(1)))
    [gate] = explanation.gates
    assert (gate.verdict, gate.tries, [attempt.met for attempt in gate.attempts]) == ("warned", 3, [False, False])
    first, second, third = explanation.visits
    assert [visit.attempt for visit in (first, second, third)] == [1, 2, 3]
    assert (first.changed, second.changed, third.changed) == ({}, {"size": 9}, {"size": 9})
    assert len({visit.seed for visit in explanation.visits}) == 3
    assert [visit.counts for visit in explanation.visits] == [False, False, True]
    assert explanation.report.record.warnings[0] in printed(explanation)


def test_requirements_say_which_was_not_met_and_what_it_saw(tmp_path: Path) -> None:
    require = [{"that": "facts.this.brightness > 2", "because": "too dark"}, "facts.this.width == 8"]
    base = {"id": "base", "step": "null_generate", "size": 8, "require": require}
    mill = null_job(tmp_path, {"name": "x", "steps": [base]}, some_items(1))
    explanation = explained(mill)
    [gate] = explanation.gates
    assert gate.verdict == "quarantined"
    dark, wide = gate.checks
    assert (dark.met, dark.because, dark.seen) == (
        False,
        "too dark",
        {"facts.this.brightness": brightness_of(mill, "base")},
    )
    assert (wide.met, wide.seen) == (True, {"facts.this.width": 8})
    text = printed(explanation)
    assert "quarantined at base  too dark: facts.this.brightness > 2 is not met" in text
    assert "✗ facts.this.brightness > 2  too dark" in text


def test_candidates_have_their_scores(tmp_path: Path) -> None:
    inner = {"id": "base", "step": "null_generate"}
    steps = [{"best_of": 3, "by": "facts.this.brightness", "steps": [inner]}]
    mill = null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1))
    explanation = explained(mill)
    [choice] = explanation.way
    assert isinstance(choice, Chosen)
    values = [brightness_of(mill, visit) for visit in ("base", "base~2", "base~3")]
    assert [candidate.value for candidate in choice.candidates] == values
    assert choice.picked == values.index(max(values)) + 1
    assert [visit.counts for visit in explanation.visits] == [value == max(values) for value in values]


def test_a_candidate_that_is_out_says_why(tmp_path: Path) -> None:
    inner = {"id": "base", "step": "null_generate", "require": ["item.seed > 5"]}
    steps = [{"best_of": 2, "by": "facts.this.brightness", "steps": [inner]}]
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1)))
    [choice] = explanation.way
    assert isinstance(choice, Chosen)
    assert choice.picked is None
    assert [candidate.dropped for candidate in choice.candidates] == ["item.seed > 5 is not met (item.seed is 0)"] * 2
    assert "no candidate was left" in printed(explanation)


def test_each_time_of_a_loop_has_its_condition(tmp_path: Path) -> None:
    inner = {"id": "half", "step": "null_pass"}
    loop = {"repeat": 3, "until": "steps.half.attempts >= 2", "start": "previous", "steps": [inner]}
    steps = [{"id": "base", "step": "null_generate"}, loop]
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1)))
    loop_node = explanation.way[1]
    assert isinstance(loop_node, Looped)
    assert [(turn.met, turn.seen) for turn in loop_node.turns] == [
        (False, {"steps.half.attempts": 1}),
        (True, {"steps.half.attempts": 2}),
    ]
    assert [visit.source for visit in explanation.visits] == [None, "base", "half"]
    assert all(visit.counts for visit in explanation.visits)


def test_a_retry_from_an_earlier_step_is_below_its_gate(tmp_path: Path) -> None:
    last = {"id": "last", "step": "null_pass", "when": "item.seed < 5", "require": ["steps.last.attempts > 1"]}
    last["on_fail"] = {"retry": 1, "from": "base"}
    middle = {"when": "vars.size < 2", "steps": [{"id": "middle", "step": "null_pass"}]}
    steps = [{"id": "base", "step": "null_generate"}, middle, last, {"id": "end", "step": "null_pass"}]
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1)))
    when = explanation.way[2]
    assert isinstance(when, Branched)
    [_, gate] = when.way
    assert isinstance(gate, Gated)
    [attempt] = gate.attempts
    assert [node.visit for node in nodes_of(attempt.way) if hasattr(node, "visit")] == ["base~2", "middle~2", "last~2"]
    assert attempt.start == "base"
    assert [getattr(node, "visit", "") for node in explanation.way] == ["base", "", "", "end"]


@pytest.mark.parametrize("seed", [0, 7])
def test_a_gate_that_is_not_asked_in_an_attempt_holds_nothing_back(tmp_path: Path, seed: int) -> None:
    """Its condition may be false for the image that was made anew: then no verdict follows, and the way goes on."""
    last = {"id": "last", "step": "null_pass", "when": "steps.base.attempts < 2", "require": ["item.seed > 9"]}
    last["on_fail"] = {"retry": 2, "from": "base"}
    steps = [{"id": "base", "step": "null_generate"}, last, {"id": "end", "step": "null_pass"}]
    item = Item(index=0, name="a", seed=seed)
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": steps}, [item]))
    assert explanation.report.record.state is ItemState.DONE
    [gate] = explanation.gates
    assert gate.verdict is None
    assert getattr(explanation.way[-1], "visit", "") == "end"


@pytest.mark.parametrize("loop", [{"best_of": 2, "by": "facts.base.brightness"}, {"repeat": 2, "until": "false"}])
def test_nor_does_it_hold_back_the_end_of_a_loop(tmp_path: Path, loop: dict[str, Any]) -> None:
    last = {"id": "last", "step": "null_pass", "when": "steps.base.attempts % 2 == 1", "require": ["item.seed > 9"]}
    last["on_fail"] = {"retry": 1, "from": "base"}
    steps = [{**loop, "steps": [{"id": "base", "step": "null_generate"}, last]}]
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1)))
    assert [type(node) for node in explanation.way] == [Chosen if "best_of" in loop else Looped]
    assert [gate.verdict for gate in explanation.gates] == [None, None]


# -- items that are not done -----------------------------------------------------------------------------------------
STRAIGHT = {
    "name": "x",
    "steps": [
        {"id": "base", "step": "null_generate"},
        {"id": "pass", "step": "null_pass", "when": "facts.base.width > 2"},
        {"id": "last", "step": "null_pass", "require": ["facts.this.width > 2"]},
    ],
}


def test_an_item_under_way_ends_where_it_has_no_image_yet(tmp_path: Path) -> None:
    mill = null_job(tmp_path, STRAIGHT, some_items(1), run=False)
    with mill.open() as shard:
        for chunk, visit in shard.schedule():
            shard.run_step(chunk, visit)
            if visit.id == "pass":
                shard.finish()
                break
        explanation = explained(mill)
    assert [(visit.visit, visit.state) for visit in explanation.visits] == [
        ("base", "computed"),
        ("pass", "computed"),
        ("last", "waiting"),
    ]
    assert list(explanation.gates) == []
    text = printed(explanation)
    assert "last  null_pass · not made yet" in text
    assert "not at its end yet" in text


def test_a_failed_item_shows_where(tmp_path: Path) -> None:
    mill = null_job(tmp_path, STRAIGHT, some_items(1))
    report = mill.ledger.items.report("job", 0)
    failed = replace(report.steps["last"], outcome=Outcome.FAILED, artefact=None, error="out of memory")
    record = replace(report.record, state=ItemState.FAILED, error="out of memory", error_step="last", finals={})
    broken = replace(report, record=record, steps={**report.steps, "last": failed})
    explanation = Explainer(mill.ledger.jobs.get("job")).explain(broken)
    assert [visit.state for visit in explanation.visits] == ["computed", "computed", "failed"]
    assert "✗ last  null_pass · failed: out of memory" in printed(explanation)


def test_a_condition_that_cannot_be_evaluated_is_told_once(tmp_path: Path) -> None:
    steps = [
        {"id": "base", "step": "null_generate"},
        {"id": "last", "step": "null_pass", "when": "facts.base.mode > 2"},
    ]
    steps[1]["when"] = "vars.kind > facts.base.width"
    explanation = explained(null_job(tmp_path, {"name": "x", "steps": steps}, some_items(1)))
    assert explanation.report.record.state is ItemState.FAILED
    assert printed(explanation).count("compares different kinds") == 1


def test_nothing_is_told_of_what_followed_a_lost_image(tmp_path: Path) -> None:
    mill = null_job(tmp_path, STRAIGHT, some_items(1))
    artefact = mill.reports()[0].steps["base"].artefact
    assert artefact is not None
    mill.ledger.steps.forget_artefacts(artefact.root, [artefact.fingerprint])
    explanation = explained(mill)
    assert [visit.state for visit in explanation.visits] == ["lost"]
    assert list(explanation.unplaced) == ["pass", "last"]
    assert "the ledger has lost the image" in printed(explanation)


def test_a_recipe_with_steps_that_are_gone_still_lists_what_was_recorded(tmp_path: Path) -> None:
    mill = null_job(tmp_path, STRAIGHT, some_items(1))
    job = mill.ledger.jobs.get("job")
    gone = job.recipe.model_copy(update={"steps": (*job.recipe.steps, RecipeStep(id="gone", step="no_such_step"))})
    explanation = Explainer(replace(job, recipe=gone)).explain(mill.ledger.items.report("job", 0))
    assert explanation.way == ()
    text = printed(explanation)
    assert "the recipe cannot be followed here" in text
    assert "no_such_step" in text
    assert all(visit in text for visit in ("base", "pass", "last"))
    assert [entry["visit"] for entry in explanation_document(explanation)["unplaced"]] == ["base", "pass", "last"]


def test_an_image_that_a_person_accepted_goes_on(tmp_path: Path) -> None:
    base = {"id": "base", "step": "null_generate", "require": ["facts.this.width > 100"]}
    mill = null_job(tmp_path, {"name": "x", "steps": [base, {"id": "last", "step": "null_pass"}]}, some_items(1))
    report = mill.ledger.items.report("job", 0)
    artefact = report.steps["base"].artefact
    assert artefact is not None
    review = Review(
        report.record.item.name, artefact.fingerprint, ReviewVerdict.ACCEPTED, "fine for the web", "ada", NOW
    )
    explanation = Explainer(mill.ledger.jobs.get("job"), [review]).explain(report)
    [gate] = explanation.gates
    assert gate.verdict == "accepted"
    assert [visit.state for visit in explanation.visits] == ["computed", "waiting"]
    assert "accepted  base, by ada on 2026-03-14 09:26: fine for the web" in printed(explanation)


# -- the command -----------------------------------------------------------------------------------------------------
@pytest.fixture
def finished(tmp_path: Path) -> Iterator[Mill]:
    mill = null_job(
        tmp_path, STRAIGHT, [*some_items(3), Item(index=3, name="2", seed=1), Item(index=4, name="fox", seed=2)]
    )
    yield mill
    mill.ledger.close()


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("i1", "i1"), ("0", "i0"), ("2", "2"), ("i2.png", "i2"), ("job/final/fox.png", "fox"), ("4", "fox")],
)
def test_an_item_is_found_by_name_index_and_final(finished: Mill, wanted: str, name: str) -> None:
    assert find_item(finished.ledger.jobs.get("job"), wanted, finished.ledger).item.name == name


@pytest.mark.parametrize(("wanted", "near"), [("fix", "fox"), ("i", "`i0`, `i1`, `i2`"), ("99", "fox")])
def test_an_unknown_item_is_refused_with_names_that_are_near(finished: Mill, wanted: str, near: str) -> None:
    with pytest.raises(InvalidInput, match=near):
        find_item(finished.ledger.jobs.get("job"), wanted, finished.ledger)


def test_texts_are_printed_as_they_are(tmp_path: Path) -> None:
    item = Item(index=0, name="[red]x[/] [/oops]", seed=1, prompt="[bold]no[/oops]")
    mill = null_job(tmp_path, STRAIGHT, [item])
    text = printed(explained(mill))
    assert "[red]x[/] [/oops]" in text
    assert "[bold]no[/oops]" in text


def test_what_does_not_fit_goes_on_below_the_text(finished: Mill) -> None:
    lines = printed(explained(finished), width=40).splitlines()
    assert max(map(len, lines)) <= 40
    assert not [line for line in lines if line.startswith("facts")]


# -- the page --------------------------------------------------------------------------------------------------------
def example(language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL)[number]


@pytest.fixture
def panorama(tmp_path: Path) -> Mill:
    Image.effect_noise((1200, 200), 60).convert("RGB").save(tmp_path / "panorama.png")
    item = Item(index=0, name="panorama", seed=5, image=str(tmp_path / "panorama.png"), vars={"framed": False})
    recipe = Recipe.model_validate(parse_yaml(example("yaml").encode(), "explain.md").data)
    mill = Mill(tmp_path, resolve_program(recipe), [item], recipe=recipe)
    mill.run()
    return mill


def test_the_example_is_what_is_printed(panorama: Mill) -> None:
    text = (
        printed(explained(panorama))
        .replace("job/final", "thumbnails/final")
        .replace("of job,", "of thumbnails-3f9c1a,")
    )
    assert without_seconds(text) == without_seconds(example("text"))


def without_seconds(text: str) -> str:
    return re.sub(r"\d+\.\d\d s", "0.00 s", "\n".join(line.rstrip() for line in text.splitlines()))


def test_every_field_is_documented(panorama: Mill, tmp_path_factory: pytest.TempPathFactory) -> None:
    inner = [{"id": "half", "step": "null_pass"}]
    steps = [
        {"id": "base", "step": "null_generate"},
        {"switch": "vars.kind", "cases": {"a": []}, "default": []},
        {"repeat": 2, "until": "true", "steps": inner},
        {"best_of": 2, "by": "item.seed", "steps": [{**inner[0], "id": "other"}]},
    ]
    loops = null_job(tmp_path_factory.mktemp("loops"), {"name": "x", "steps": steps}, some_items(1))
    names: set[str] = set()
    for mill, item in ((panorama, "panorama"), (loops, "i0")):
        names.update(fields_of(explain_command(mill.ledger.jobs.get("job"), item, mill.ledger).document))
    assert {"candidates", "turns", "case", "repair", "attempts"} <= names
    assert not [name for name in sorted(names) if f"`{name}`" not in DOC]


def fields_of(value: Any) -> Iterator[str]:
    """Names of all fields, but not what facts and variables are called."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name
            if name not in ("facts", "vars", "seen", "changed"):
                yield from fields_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from fields_of(inner)
