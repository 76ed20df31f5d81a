"""A request is refused with every mistake, each with file and line, before any work."""

import re

import pytest

from configs.documents.problems import InvalidInput
from configs.job.job import Job
from configs.recipe.recipe import Recipe
from flows.job.request import read_request
from storage.objects.artefacts import MissingObject
from tests.flows.job.workspace import JOB, MODEL, RECIPE, job

LONG = "x" * 10_001
JOB_MISTAKES = [
    # field, job, path, line, message
    ("name", job(without="name"), "name", 1, "is missing"),
    ("name", job("name: 7"), "name", 5, "must be a text, not 7"),
    ("name", job("name: ''"), "name", 5, "must not be empty"),
    ("name", job("name: a/b"), "name", 5, "must not hold a path separator"),
    ("name", job("name: ' a'"), "name", 5, "white space"),
    ("description", job("description: [a]"), "description", 5, "must be a text, not a list"),
    ("description", job(f"description: {LONG}"), "description", 5, "at most 10000 characters"),
    ("recipe", job(without="recipe"), "recipe", 1, "is missing"),
    ("recipe", job("recipe: icn"), "recipe", 5, "unknown recipe `icn`; did you mean `icon`?"),
    ("recipe", job("recipe: ./none.yaml"), "recipe", 5, "cannot be read"),
    ("recipe", job("recipe: http://x/y.yaml"), "recipe", 5, "http:// is not allowed here"),
    ("recipe", job("recipe: gs://x/y.yaml"), "recipe", 5, "must be a path, an s3:// or an https:// URI"),
    ("recipe", job("recipe: ./secret.txt"), "recipe", 5, "must end in .yaml or .yml"),
    ("output", job("output: https://x/y"), "output", 5, "must be a path or an s3:// URI, not https://…"),
    ("output", job("output: s3://bucket/../x"), "output", 5, "must not hold `.` or `..`"),
    ("recipe", job("recipe: ''"), "recipe", 5, "must not be empty"),
    ("recipe", job("recipe: {steps: []}"), "recipe", 5, "must be a text, not fields"),
    ("output", job(without="output"), "output", 1, "is missing"),
    ("output", job("output: 3"), "output", 5, "must be a text, not 3"),
    ("output", job("output: s3://"), "output", 5, "must have the form s3://bucket/key"),
    ("output", job("output: gs://bucket/x"), "output", 5, "not gs://…"),
    ("seed", job("seed: -2"), "seed", 6, "must be at least -1, not -2"),
    ("seed", job("seed: 9223372036854775808"), "seed", 6, "must be at most 9223372036854775807"),
    ("seed", job("seed: true"), "seed", 6, "must be a whole number, not true"),
    ("seed", job("seed: 1.0"), "seed", 6, "must be a whole number, not 1.0"),
    ("seed", job("seed: '7'"), "seed", 6, "must be a whole number, not the text '7'"),
    ("seed", job("seed: 2024-01-01"), "seed", 6, "looks like a date"),
    ("seed", job("seed:"), "seed", 6, "must be a whole number, not nothing"),
    ("seeds_per_item", job("seeds_per_item: 0"), "seeds_per_item", 6, "must be at least 1, not 0"),
    ("seeds_per_item", job("seeds_per_item: 10001"), "seeds_per_item", 6, "must be at most 10000"),
    ("seeds_per_item", job("seeds_per_item: two"), "seeds_per_item", 6, "must be a whole number, not the text 'two'"),
    ("vars", job("vars: [a]"), "vars", 6, "must be fields"),
    ("vars", job("vars: {a: [1]}"), "vars.a", 6, "must be a text, a number, true or false, not a list"),
    ("vars", job("vars: {a-b: 1}"), "vars.a-b", 6, "the name of a variable must be"),
    ("vars", job("vars: {a: .inf}"), "vars.a", 6, "not a finite number"),
    ("vars", job("vars: {a: 18446744073709551616}"), "vars.a", 6, "at most 64 bits"),
    ("vars", job('vars: {a: "\\0"}'), "vars.a", 6, "control character U+0000"),
    ("vars", job("vars: {a: no}"), "vars.a", 6, "write false, or quote the word"),
    ("parameters", job("parameters: [a]"), "parameters", 6, "must be fields"),
    ("parameters", job("parameters: {big: {scale: 2}}"), "parameters.big", 6, "no step `big`; known: base"),
    ("parameters", job("parameters: {large: {scal: 2}}"), "parameters.large.scal", 6, "did you mean `scale`?"),
    ("parameters", job("parameters: {large: {scale: 99}}"), "parameters.large.scale", 6, "not 99"),
    ("parameters", job("parameters: {large: {when: x}}"), "parameters.large.when", 6, "is the recipe's"),
    ("parameters", job("parameters: {base: {model: none}}"), "parameters.base.model", 6, "none"),
    ("dynamic_prompts", job("dynamic_prompts: 1"), "dynamic_prompts", 6, "must be true or false, not 1"),
    (
        "dynamic_prompts",
        job("dynamic_prompts: true", "items: [{prompt: 'a {b'}]"),
        "items[0].prompt",
        5,
        "has a `{` without its `}`",
    ),
    ("wildcards", job("wildcards: ./lists"), "wildcards", 6, "has no effect without `dynamic_prompts: true`"),
    ("wildcards", job("dynamic_prompts: true", "wildcards: ./none"), "wildcards", 7, "is not there, or is no folder"),
    ("wildcards", job("wildcards: https://x.test/lists"), "wildcards", 6, "must be a path or an s3:// URI"),
    ("distinct", job("distinct: {distance: -1}"), "distinct.distance", 6, "must be at least 0.0, not -1"),
    ("distinct", job("distinct: {on_fail: delete}"), "distinct.on_fail", 5, "must be 'quarantine' or 'warn'"),
    ("distinct", job("distinct: {distanc: 3}"), "distinct.distanc", 5, "unknown field; did you mean `distance`?"),
    ("distinct", job("distinct: warn"), "distinct", 5, "must be fields (`name: value`), not the text 'warn'"),
    ("review", job("review: later"), "review", 6, "must be 'end' or 'wait'"),
    ("budget", job("budget: 0"), "budget", 6, "must be more than 0"),
    ("budget", job("budget: 5"), "budget", 6, "set PIXELMILL_PRICE_PER_HOUR"),
    ("items", job(without="items"), "items", 1, "give `items`, a `matrix` or a `zip`"),
    ("items", job("items: []"), "items", 4, "must have at least 1 entry"),
    ("items", job("items: {name: a}"), "items", 4, "must be a list, not fields"),
    ("items", job("items: ''"), "items", 4, "must not be empty"),
    ("items", job("items: none.csv"), "items", 4, "cannot be read"),
    ("items", job("items: job.yaml"), "", None, "must be one of .csv"),
    ("items", job("items: [a]"), "items[0]", 4, "must be fields (`name: value`), not the text 'a'"),
    ("items.name", job("items: [{name: ..}]"), "items[0].name", 4, "must not begin with a dot"),
    ("items.name", job("items: [{name: a, prompt: x}, {name: A, prompt: x}]"), "items[1].name", 4, "is taken"),
    ("items.prompt", job("items: [{name: a, prompt: 3}]"), "items[0].prompt", 4, "must be a text, not 3"),
    ("items.prompt", job("items: [{name: a, prompt: ' '}]"), "items[0].prompt", 4, "must not be empty"),
    ("items.prompt", job(f"items: [{{prompt: {LONG}}}]"), "items[0].prompt", 4, "at most 10000 characters"),
    ("items.prompt", job("items: [{name: a}]"), "items[0]", 4, "has no prompt"),
    ("items.negative_prompt", job("items: [{negative_prompt: {}}]"), "items[0].negative_prompt", 4, "must be a text"),
    ("items.seed", job("items: [{seed: -2}]"), "items[0].seed", 4, "must be at least -1, not -2"),
    ("items.seed", job("items: [{seed: false}]"), "items[0].seed", 4, "must be a whole number, not false"),
    ("items.image", job("items: [{prompt: x, image: a.png}]"), "items[0].image", 4, "no such file: "),
    ("items.image", job("items: [{prompt: x, image: .}]"), "items[0].image", 4, "no such file: "),
    ("items.image", job("items: [{prompt: x, image: 3}]"), "items[0].image", 4, "must be a text"),
    ("items.mask", job("items: [{prompt: x, mask: a.png}]"), "items[0].mask", 4, "no such file: "),
    ("items.mask", job('items: [{prompt: x, mask: "s3:/b/a.png"}]'), "items[0].mask", 4, "no such file: "),
    ("items.vars", job("items: [{prompt: x, vars: {a: {}}}]"), "items[0].vars.a", 4, "not fields"),
    ("items.vars", job("items: [{prompt: x, vars: 3}]"), "items[0].vars", 4, "must be fields"),
    ("matrix", job("matrix: 3"), "matrix", 6, "must be fields"),
    ("matrix", job("matrix: {prompt: x}"), "matrix", 6, "needs at least one list of values"),
    ("matrix", job("matrix: {prompt: x, a: []}"), "matrix.a", 6, "must have at least 1 entries"),
    ("matrix", job("matrix: {prompt: x, a: [[1]]}"), "matrix.a[0]", 6, "must be a text, a number"),
    ("matrix", job("matrix: {promt: x, a: [1]}"), "matrix.promt", 6, "must be a list, not the text 'x'; did you mean"),
    ("matrix", job("matrix: {prompt: '{a', a: [1]}"), "matrix.prompt", 6, "brace without its partner"),
    ("matrix", job("matrix: {prompt: '{b}', a: [1]}"), "matrix.prompt", 6, "`{b}` names no list"),
    ("matrix", job("matrix: {prompt: x, image: '{a}.png', a: [1]}"), "matrix.image", 6, "no such file"),
    ("matrix", job("matrix: {prompt: x, a: [A b, a-b]}"), "matrix.name", 6, "give the templates a `name`"),
    ("matrix", job("matrix: {prompt: x, name: '{a}/', a: [1]}"), "matrix.name", 6, "path separator"),
    ("matrix", job("matrix: {a: [1]}"), "matrix", 6, "has no prompt"),
    ("zip", job("zip: {prompt: x, a: [1, 2], b: [1]}"), "zip", 6, "equally long (they hold: a 2, b 1)"),
    ("zip", job("zip: {prompt: x, seed: [1]}"), "zip.seed", 6, "seeds_per_item"),
    ("unknown", job("item: []"), "item", 6, "unknown field; did you mean `items`?"),
    ("unknown", job("items: [{promt: x}]"), "items[0].promt", 4, "unknown field; did you mean `prompt`?"),
    ("doubled", JOB + "seed: 1\nseed: 2\n", "seed", 7, "`seed` is written twice"),
]


@pytest.mark.parametrize(("text", "path", "line", "said"), [row[1:] for row in JOB_MISTAKES])
def test_a_mistake_in_a_job(workspace, text, path, line, said):
    text = text.replace("without: ", "")
    found = {(each.path, each.line): each for each in workspace.problems(text)}
    assert (path, _line_of(text, path, line)) in found, list(map(str, found.values()))
    problem = found[path, _line_of(text, path, line)]
    assert said in problem.message
    assert problem.file == str(workspace.folder / "job.yaml")


def _line_of(text: str, path: str, line: int | None) -> int | None:
    """Where the top-level field stands; `line` where the document has no such field."""
    field = re.split(r"[.\[]", path)[0]
    places = [number for number, each in enumerate(text.splitlines(), 1) if each.split(":")[0] == field]
    return places[-1] if places else line


def test_every_field_of_a_job_is_in_the_table():
    tested = {row[0].split(".")[0] for row in JOB_MISTAKES}
    assert set(Job.model_fields) <= tested
    assert {f"items.{name}" for name in ("name", "prompt", "negative_prompt", "seed", "image", "mask", "vars")} <= {
        row[0] for row in JOB_MISTAKES
    }


STEP = "  - {id: base, step: generate, model: tiny}\n"


def recipe(*steps: str, rest: str = "") -> str:
    return "name: icon\nsteps:\n" + STEP + "".join(f"  - {{{step}}}\n" for step in steps) + rest


RECIPE_MISTAKES = [
    # field, recipe, path, line, message
    ("name", "steps:\n" + STEP, "name", 1, "is missing"),
    ("name", recipe().replace("icon", "a/b"), "name", 1, "path separator"),
    ("description", recipe(rest="description: 3\n"), "description", 4, "must be a text, not 3"),
    ("vars", recipe(rest="vars: {a: [1]}\n"), "vars.a", 4, "must be a text, a number"),
    ("steps", "name: icon\n", "steps", 1, "is missing"),
    ("steps", "name: icon\nsteps: []\n", "steps", 2, "at least 1 entries"),
    ("steps", "name: icon\nsteps: {}\n", "steps", 2, "must be a list, not fields"),
    ("steps", recipe(*[f"id: a{n}, step: pad" for n in range(64)]), "steps", 2, "at most 64 entries"),
    ("steps", recipe() + "  - pad\n", "steps[1]", 4, "must be fields"),
    ("steps.id", recipe("step: pad"), "steps[1].id", 4, "is missing"),
    ("steps.id", recipe("id: Big, step: pad"), "steps[1].id", 4, "must match the pattern"),
    ("steps.id", recipe("id: 7, step: pad"), "steps[1].id", 4, "must be a text, not 7"),
    ("steps.id", recipe("id: base, step: pad"), "steps[1].id", 4, "the id `base` is taken by steps[0]"),
    ("steps.step", recipe("id: a"), "steps[1].step", 4, "is missing"),
    ("steps.step", recipe("id: a, step: upscal"), "steps[1].step", 4, "unknown step `upscal`; did you mean `upscale`?"),
    ("steps.step", recipe("id: a, step: [pad]"), "steps[1].step", 4, "must be a text, not a list"),
    ("steps.when", recipe("id: a, step: pad, when: true"), "steps[1].when", 4, "must be a text, not true"),
    ("steps.when", recipe("id: a, step: pad, when: ''"), "steps[1].when", 4, "is empty"),
    ("steps.when", recipe('id: a, step: pad, when: "vars.x >"'), "steps[1].when", 4, "is not an expression"),
    ("steps.when", recipe('id: a, step: pad, when: "open(1)"'), "steps[1].when", 4, "functions cannot be called"),
    (
        "steps.when",
        recipe("id: a, step: pad, when: vars.transparant"),
        "steps[1].when",
        4,
        "no item has the variable `transparant`; did you mean `transparent`?",
    ),
    (
        "steps.when",
        recipe("id: a, step: pad, when: facts.bas.width > 1"),
        "steps[1].when",
        4,
        "`facts.bas.width`: no step has the id `bas`; did you mean `base`?",
    ),
    (
        "steps.when",
        recipe("id: a, step: pad, when: facts.base.widht > 1"),
        "steps[1].when",
        4,
        "the step `base` measures no `widht`; did you mean `width`?",
    ),
    ("steps.when", recipe("id: a, step: pad, when: facts.a.width > 1"), "steps[1].when", 4, "`a` comes later"),
    ("steps.when", recipe("id: a, step: pad, when: vars.transparent > 'x'"), "steps[1].when", 4, "different kinds"),
    ("steps.when", recipe("id: a, step: pad, when: item.sed > 1"), "steps[1].when", 4, "did you mean `seed`?"),
    ("parameters", recipe("id: a, step: pad, margn: 2"), "steps[1].margn", 4, "unknown field; did you mean `margin`?"),
    ("parameters", recipe("id: a, step: pad, wen: x"), "steps[1].wen", 4, "unknown field; did you mean `when`?"),
    ("parameters", recipe("id: a, step: pad, margin: -1"), "steps[1].margin", 4, "must be at least 0, not -1"),
    ("parameters", recipe("id: a, step: pad, margin: '2'"), "steps[1].margin", 4, "must be a whole number, not the"),
    ("parameters", recipe("id: a, step: pad, margin: true"), "steps[1].margin", 4, "must be a whole number, not true"),
    ("parameters", recipe("id: a, step: pad, square: 1"), "steps[1].square", 4, "must be true or false, not 1"),
    ("parameters", recipe("id: a, step: upscale, model: tiny, scale: .nan"), "steps[1].scale", 4, "not a finite"),
    ("parameters", recipe("id: a, step: convert, format: gif"), "steps[1].format", 4, "must be 'png', 'webp'"),
    ("parameters", recipe("id: a, step: upscale"), "steps[1].model", 4, "is missing"),
    ("model", recipe("id: a, step: upscale, model: tinny"), "steps[1].model", 4, "unknown model `tinny`; did you mean"),
    ("order", "name: icon\nsteps:\n  - {id: a, step: pad}\n" + STEP, "steps[0]", 3, "`pad` needs an image"),
    (
        "order",
        "name: icon\nsteps:\n  - {id: a, step: pad, when: vars.transparent}\n",
        "steps[0]",
        3,
        "no step before it makes one",
    ),
    ("keep", recipe(rest="keep: [bas]\n"), "keep[0]", 4, "no step has the id `bas`; did you mean `base`?"),
    ("keep", recipe(rest="keep: [base, base]\n"), "keep[1]", 4, "`base` is listed twice"),
    ("keep", recipe(rest="keep: base\n"), "keep", 4, "must be a list, not the text 'base'"),
    ("keep", recipe(rest="keep: [3]\n"), "keep[0]", 4, "must be a text, not 3"),
    ("facts", recipe(rest="facts: [sharpnes]\n"), "facts[0]", 4, "did you mean `sharpness`?"),
    ("facts", recipe(rest="facts: 3\n"), "facts", 4, "must be a list, not 3"),
    (
        "steps.else",
        recipe("id: a, step: pad, when: item.has_mask, elsse: []"),
        "steps[1].elsse",
        4,
        "did you mean `else`?",
    ),
    ("switch", recipe("switch: item.seed, cases: {a: []}"), "steps[1].default", 4, "is missing"),
    ("repeat", recipe("repeat: 1, until: 'false', steps: [{id: a, step: pad}]"), "steps[1].repeat", 4, "at least 2"),
    ("best_of", recipe("best_of: 2, by: '1.0', steps: [{id: A, step: pad}]"), "steps[1].steps[0].id", 4, "pattern"),
    ("on_fail", recipe("id: a, step: pad, on_fail: {retri: 1}"), "steps[1].on_fail.retri", 4, "did you mean `retry`"),
    ("distinct", recipe(rest="distinct: {distance: 65}\n"), "distinct.distance", 4, "must be at most 64.0, not 65"),
    ("unknown", recipe(rest="kep: [base]\n"), "kep", 4, "unknown field; did you mean `keep`?"),
    ("unreadable", "name: [\n", "", 1, "not valid YAML"),
]


@pytest.mark.parametrize(("text", "path", "line", "said"), [row[1:] for row in RECIPE_MISTAKES])
def test_a_mistake_in_a_recipe(workspace, text, path, line, said):
    workspace.write("recipes/icon.yaml", text)
    problems = workspace.problems()
    (problem,) = problems
    assert (problem.path, problem.line) == (path, line)
    assert said in problem.message
    assert problem.file == str(workspace.folder / "recipes/icon.yaml")


def test_every_field_of_a_recipe_is_in_the_table():
    assert {*Recipe.model_fields, "steps.id", "steps.step", "steps.when"} <= {row[0] for row in RECIPE_MISTAKES}


def test_every_mistake_of_every_file_at_once(workspace):
    workspace.write(
        "recipes/icon.yaml",
        "name: icon\n"
        "steps:\n"
        "  - {id: base, step: generate, model: nothing, width: 63}\n"
        "  - {id: base, step: upscale, model: tiny, scal: 4}\n"
        "  - {id: Third, step: pad}\n"
        "  - {id: four, step: pad, margin: 1, when: facts.base.sharpnes > 1}\n"
        "keep: [fuor]\n",
    )
    workspace.write("items.csv", "name,prompt,seed\na,x,1\nb,,2\nA,y,-2\na,z,3\n")
    text = "name: a/b\nrecipe: icon\noutput: ./out\nseed: x\nitems: items.csv\nmatrx: 1\nzip: {prompt: '{b}', a: [1]}\n"
    assert workspace.seen(text) == [
        "job.yaml:1: name: must not hold a path separator (/ or \\)",
        "job.yaml:4: seed: must be a whole number, not the text 'x'",
        "job.yaml:6: matrx: unknown field; did you mean `matrix`?",
        "items.csv:4: seed: must be at least -1, not -2",
        "job.yaml:7: zip.prompt: `{b}` names no list of the zip and no variable of the job; known: a",
        "items.csv:5: name: the name `a` is taken (upper and lower case count as equal) "
        "by an item in line 2 of items.csv",
        "recipes/icon.yaml:5: steps[2].id: must match the pattern ^[a-z][a-z0-9_]{0,39}$, not the text 'Third'",
        "recipes/icon.yaml:3: steps[0].width: must be a multiple of 8, not 63",
        "recipes/icon.yaml:4: steps[1].id: the id `base` is taken by steps[0]: choose another",
        "recipes/icon.yaml:4: steps[1].scal: unknown field; did you mean `scale`?",
        "recipes/icon.yaml:6: steps[3].when: `facts.base.sharpnes`: the step `base` measures no `sharpnes`; "
        "did you mean `sharpness`?",
        "recipes/icon.yaml:7: keep[0]: no step has the id `fuor`; did you mean `four`?",
    ]


def test_mistakes_of_models_are_named_where_the_recipe_names_them(workspace):
    workspace.write(
        "models/tiny.yaml", MODEL.replace("engine: rembg, source: ./weights.bin", "engine: rembg, source: ./none")
    )
    workspace.write("recipes/icon.yaml", RECIPE.replace("model: tiny, scale", "model: no, scale"))
    assert workspace.seen() == [
        "recipes/icon.yaml:6: steps[3].model: `no` can mean a word or false: write false, or quote the word",
        "recipes/icon.yaml:4: steps[1].model: its files are missing: models/none",
    ]


def test_items_that_a_step_cannot_take(workspace):
    workspace.write(
        "recipes/icon.yaml",
        "name: icon\n"
        "steps:\n"
        "  - {id: photo, step: load, when: item.has_image}\n"
        "  - {id: base, step: generate, model: tiny, when: vars.draw}\n"
        "  - {id: fix, step: inpaint, model: tiny, mask: item, when: item.has_mask or vars.fix}\n"
        "  - {id: large, step: upscale, model: tiny, when: vars.large}\n",
    )
    workspace.write("in.png", "")
    text = (
        "name: icons\nrecipe: icon\noutput: ./out\nitems:\n"
        "  - {name: fine, image: in.png, vars: {large: true}}\n"
        "  - {name: no-prompt, vars: {draw: true}}\n"
        "  - {name: no-image, prompt: x, vars: {large: true}}\n"
        "  - {name: no-mask, image: in.png, prompt: x, vars: {fix: true}}\n"
        "  - {name: idle, prompt: x}\n"
    )
    assert workspace.seen(text) == [
        "job.yaml:6: items[1]: has no prompt: give it one, or a prompt template without {prompt} to the step "
        "(step `base`, item `no-prompt`)",
        "job.yaml:7: items[2]: the step `large` needs an image, but the item visits no step that makes one before",
        "job.yaml:8: items[3]: has no mask: give it one, or choose another kind of mask in the step "
        "(step `fix`, item `no-mask`)",
        "job.yaml:9: items[4]: the item `idle` visits no step: every `when` of the recipe is false for it",
    ]


def test_an_output_that_is_a_file(workspace):
    output = workspace.write("out.txt", "")
    assert workspace.seen(job(f"output: {output}")) == ["job.yaml:5: output: out.txt is a file: name a folder"]


def test_what_the_store_cannot_read(workspace):
    def read(uri: str) -> bytes:
        raise MissingObject(f"{uri} is not there.")

    with pytest.raises(InvalidInput, match=r"s3://b/job.yaml: cannot be read: s3://b/job.yaml is not there."):
        read_request("s3://b/job.yaml", workspace.settings, read_bytes=read)


def test_an_empty_job_and_an_empty_recipe(workspace):
    assert workspace.seen("") == ["job.yaml:1: the file is empty"]
    workspace.write("recipes/icon.yaml", "# nothing\n")
    assert workspace.seen() == ["recipes/icon.yaml:1: the file is empty"]


def test_a_refused_request_leaves_nothing_behind(workspace):
    workspace.write("job.yaml", job("seed: -2"))
    before = {path for path in workspace.folder.rglob("*") if "home" not in path.parts}
    assert workspace.problems(job("seed: -2"))
    assert {path for path in workspace.folder.rglob("*") if "home" not in path.parts} == before
