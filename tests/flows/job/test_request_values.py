"""Variables keep to what the recipe expects of them: nothing that only looks right goes through."""

import pytest

from tests.flows.job.workspace import RECIPE, Workspace, job

DECLARED = RECIPE.replace("steps:", "vars: {transparent: false, share: 0.5, note: ''}\nsteps:", 1)


@pytest.fixture
def declared(workspace: Workspace) -> Workspace:
    workspace.write("recipes/icon.yaml", DECLARED)
    return workspace


@pytest.mark.parametrize("word", ["FALSCH", "WAHR", "ja", "nein", "yes", "'0", "forest", "5", "0.5"])
def test_only_true_and_false_are_booleans_where_the_recipe_has_one(declared: Workspace, word: str) -> None:
    declared.write("t.csv", f"name,prompt,transparent\na,x,true\nb,x,{word}\n")
    (said,) = declared.seen(job("items: t.csv"))
    assert said.startswith("t.csv:3: transparent: must be true or false, as the variable's default is, not ")


def test_0_and_1_are_booleans_where_the_recipe_has_one(declared: Workspace) -> None:
    declared.write("t.csv", "name,prompt,transparent\na,x,0\nb,x,1\nc,x,\n")
    values = [item.vars["transparent"] for item in declared.request(job("items: t.csv")).items]
    assert [(value, type(value)) for value in values] == [(False, bool), (True, bool), (False, bool)]


@pytest.mark.parametrize("number", ["0,5", "1'234.5", "TRUE", "half"])
def test_only_numbers_are_numbers_where_the_recipe_has_one(declared: Workspace, number: str) -> None:
    declared.write("t.csv", f'name,prompt,share\na,x,"{number}"\n')
    (said,) = declared.seen(job("items: t.csv"))
    assert said.startswith("t.csv:2: share: must be a number, as the variable's default is, not ")


def test_a_text_may_be_anything(declared: Workspace) -> None:
    declared.write("t.csv", "name,prompt,note\na,x,5\nb,x,nein\n")
    assert [item.vars["note"] for item in declared.request(job("items: t.csv")).items] == [5, "nein"]


def test_wrong_values_are_told_at_once_wherever_they_are_written(declared: Workspace) -> None:
    written = job(
        "vars: {share: '0,5'}",
        "items:\n  - {name: a, prompt: x, vars: {transparent: FALSCH}}\n  - {name: b, prompt: x, vars: {share: ja}}",
        "matrix:\n  prompt: x\n  transparent: [WAHR, true]",
    )
    assert [problem.partition(": must")[0] for problem in declared.seen(written)] == [
        "job.yaml:4: vars.share",
        "job.yaml:6: items[0].vars.transparent",
        "job.yaml:7: items[1].vars.share",
        "job.yaml:8: matrix.transparent",
    ]


@pytest.mark.parametrize("word", ["FALSCH", "WAHR", "nein", "Oui", "'TRUE"])
def test_a_word_that_means_a_boolean_is_refused_where_a_condition_would_take_it_for_true(
    workspace: Workspace, word: str
) -> None:
    workspace.write("t.csv", f"name,prompt,transparent\na,x,true\nb,x,{word}\nc,x,{word}\n")
    said = workspace.seen(job("items: t.csv"))
    assert [line.partition(": the text")[0] for line in said] == ["t.csv:3: transparent", "t.csv:4: transparent"]
    assert said[0].endswith('write true or false, or let the recipe compare it, as `vars.transparent == "…"`')


def test_such_a_word_in_the_variables_of_a_job_is_told_once(workspace: Workspace) -> None:
    (said,) = workspace.seen(job("vars: {transparent: Nein}", "matrix: {prompt: x, color: [red, blue]}"))
    assert said.startswith("job.yaml:6: vars.transparent: the text 'Nein' counts as true")


@pytest.mark.parametrize(
    ("condition", "refused"),
    [
        ("not vars.answer", True),
        ("vars.answer == true", True),
        ("facts.base.width > 3 and vars.answer", True),
        ('vars.answer == "ja"', False),
        ('vars.answer in ["ja", "nein"]', False),
    ],
)
def test_such_a_word_is_a_text_where_a_condition_compares_it(
    workspace: Workspace, condition: str, refused: bool
) -> None:
    workspace.write("recipes/icon.yaml", RECIPE.replace('"vars.transparent"', f"'{condition}'"))
    said = workspace.seen(job("items: [{name: a, prompt: x, vars: {answer: ja}}]"))
    assert bool(said) is refused


def test_texts_of_other_meanings_count_as_given(workspace: Workspace) -> None:
    assert workspace.seen(job("items: [{name: a, prompt: x, vars: {transparent: a forest}}]")) == []


def test_a_column_is_taken_for_the_variable_that_the_recipe_reads(workspace: Workspace) -> None:
    workspace.write("t.csv", "Name,Prompt,Transparent \na,x,false\n")
    request = workspace.request(job("items: t.csv"))
    assert request.items[0].vars == {"transparent": False}
    assert any("the column `Transparent` is taken for `transparent`" in notice for notice in request.notices)


@pytest.mark.parametrize(
    "written",
    [
        "vars: {Transparent: true}",
        "items: [{name: a, prompt: x, vars: {Transparent: true}}]",
        "items: t.jsonl",
        "items: both.csv",
        "matrix: {prompt: x, Transparent: [true, false]}",
    ],
)
def test_a_variable_that_only_looks_like_one_of_the_recipe_is_refused(declared: Workspace, written: str) -> None:
    declared.write("t.jsonl", '{"name": "a", "prompt": "x", "Transparent": true}\n')
    declared.write("both.csv", "name,prompt,transparent,Transparent\na,x,true,false\n")
    (said,) = declared.seen(job(written))
    assert said.endswith("Transparent: the recipe reads `transparent`, not `Transparent`: write it so")
