"""Dynamic prompts and the signs of other programs, as a job has them."""

import re

import pytest

from tests.flows.job.workspace import Workspace, job

DYNAMIC = job("dynamic_prompts: true", "wildcards: lists", "seeds_per_item: 4", "items: t.csv")
KEYS = "name,prompt,negative_prompt\nkey,a {small|large} __colors__ key,{text|blur}\ncoin,a __colors__ coin,\n"


@pytest.fixture
def lists(workspace: Workspace) -> Workspace:
    workspace.write("recipes/icon.yaml", "name: icon\nsteps:\n- {id: base, step: generate, model: tiny}\n")
    workspace.write("lists/colors.txt", "red\nblue\ngreen\n")
    workspace.write("t.csv", KEYS)
    return workspace


def prompts(workspace: Workspace, text: str) -> dict[str, tuple[str | None, str | None]]:
    return {item.name: (item.prompt, item.negative_prompt) for item in workspace.request(text).items}


def test_each_image_makes_its_own_choices(lists: Workspace) -> None:
    made = prompts(lists, DYNAMIC)
    for number in range(1, 5):
        prompt, negative = made[f"key-{number}"]
        assert re.fullmatch(r"a (small|large) (red|blue|green) key", prompt or "") and negative in ("text", "blur")
    assert len({prompt for prompt, _ in made.values()}) > 3


def test_the_prompt_of_an_item_does_not_depend_on_the_others(lists: Workspace) -> None:
    before = prompts(lists, DYNAMIC)
    header, key, coin, _ = KEYS.split("\n")
    lists.write("t.csv", "\n".join([header, coin, "gem,a __colors__ gem,", key, ""]))
    after = prompts(lists, DYNAMIC)
    assert {name: after[name] for name in before} == before


def test_two_items_of_one_seed_choose_alike(lists: Workspace) -> None:
    items = "items: [{name: a, prompt: '{1|2|3|4|5|6|7|8}', seed: 3}, {name: b, prompt: '{1|2|3|4|5|6|7|8}', seed: 3}]"
    made = prompts(lists, job("dynamic_prompts: true", items))
    assert made["a"] == made["b"]


def test_braces_of_a_template_become_choices(lists: Workspace) -> None:
    made = prompts(lists, job("dynamic_prompts: true", "matrix: {prompt: 'a {c} {{key|coin}}', c: [red]}"))
    assert made["red"][0] in ("a red key", "a red coin")


def test_another_list_is_another_job(lists: Workspace) -> None:
    before = lists.request(DYNAMIC).revision
    lists.write("lists/colors.txt", "pink\n")
    assert lists.request(DYNAMIC).revision != before


def test_a_list_that_is_not_there_is_a_mistake_of_its_row(lists: Workspace) -> None:
    lists.write("t.csv", "name,prompt\na,a __colours__ key\nb,a {b\n")
    assert lists.seen(DYNAMIC) == [
        "t.csv:2: prompt: names the list `__colours__`, which is not in lists; did you mean `colors`?",
        "t.csv:3: prompt: has a `{` without its `}` (write \\{ and \\} for braces)",
    ]


def test_a_job_without_lists_says_what_to_give(lists: Workspace) -> None:
    (said,) = lists.seen(job("dynamic_prompts: true", "items: [{name: a, prompt: a __colors__ key}]"))
    assert said.endswith("names the list `__colors__`: give the job `wildcards`, the folder of colors.txt")


def test_prompts_are_checked_also_where_the_folder_of_lists_is_wrong(lists: Workspace) -> None:
    said = lists.seen(
        job("dynamic_prompts: true", "wildcards: none", 'items: [{name: a, prompt: "a {red|blue __none__ key"}]')
    )
    assert ["wildcards: " in said[0], "has a `{` without its `}`" in said[1], len(said)] == [True, True, 2]


def test_lists_that_jobs_may_not_read_are_not_looked_into(tmp_path) -> None:
    closed = Workspace(tmp_path, input_folders=(tmp_path / "open",))
    closed.write("recipes/icon.yaml", "name: icon\nsteps:\n- {id: base, step: generate, model: tiny}\n")
    closed.write("lists/colors.txt", "secret\n")
    text = job("dynamic_prompts: true", "wildcards: lists", "items: [{name: a, prompt: a __none__}]")
    (said,) = closed.seen(text)
    assert "wildcards: " in said and "PIXELMILL_INPUT_FOLDERS" in said


def test_without_the_switch_prompts_are_as_written_and_that_is_told(lists: Workspace) -> None:
    request = lists.request(job("items: t.csv"))
    assert request.items[0].prompt == "a {small|large} __colors__ key"
    (notice,) = request.notices
    assert notice.startswith("`{small|large}` is no choice without the job's `dynamic_prompts: true`")
    assert notice.endswith("in 2 prompts (key, coin)")


def test_signs_that_no_model_here_understands_are_told(workspace: Workspace) -> None:
    recipe = "name: icon\nsteps:\n- {id: base, step: generate, model: tiny, prompt: '{prompt} BREAK sharp'}\n"
    workspace.write("recipes/icon.yaml", recipe)
    request = workspace.request(job("items: [{name: a, prompt: 'a (red:1.3) key'}]"))
    assert [notice.partition(": in ")[2] for notice in request.notices] == ["1 prompt (step base)", "1 prompt (a)"]


def test_prompts_that_go_to_no_model_are_not_remarked_on(workspace: Workspace) -> None:
    workspace.write("recipes/icon.yaml", "name: icon\nsteps:\n- {id: photo, step: load}\n")
    workspace.write("a.png", b"")
    assert workspace.request(job("items: [{name: a, image: a.png, prompt: 'a (red:1.3) key'}]")).notices == ()
