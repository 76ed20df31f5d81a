import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.documents.fields import collision_key
from configs.job.job import Grid, ItemEntry, Template, expand_grid, grid_problems, grid_size, in_text


def grid(**fields) -> Grid:
    return Grid.model_validate(
        {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    )


def names(kind: str, **fields) -> list[str]:
    return [entry.name for entry in expand_grid(grid(**fields), kind, {})]


def test_a_matrix_takes_each_with_each_and_names_them_by_their_values():
    entries = list(
        expand_grid(
            grid(
                prompt="a {color} {object}, {background}",
                color=["red", "blue"],
                object=["potion"],
                background=["white", "black"],
            ),
            "matrix",
            {},
        )
    )
    assert [entry.name for entry in entries] == [
        "red-potion-white",
        "red-potion-black",
        "blue-potion-white",
        "blue-potion-black",
    ]
    assert entries[0].prompt == "a red potion, white"
    assert entries[3].vars == {"color": "blue", "object": "potion", "background": "black"}


def test_zip_reads_its_lists_side_by_side():
    assert names("zip", prompt="{a}{b}", a=["x", "y"], b=[1, 2]) == ["x-1", "y-2"]


def test_values_in_names_and_prompts():
    made = list(expand_grid(grid(prompt="{v}", v=["Magic Potion", 0.5, -1, True, None, "!!!"]), "matrix", {}))
    assert [entry.name for entry in made[:4]] == ["magic-potion", "0.5", "minus-1", "true"]
    assert [entry.prompt for entry in made[:4]] == ["Magic Potion", "0.5", "-1", "true"]
    assert made[5].name == "6"  # no letter to make a name of: its place in the list
    assert isinstance(made[4], list)  # nothing makes an empty prompt


def test_every_field_can_be_a_template_with_the_jobs_variables():
    (entry,) = expand_grid(
        grid(
            name="{a} by {who}", prompt="{a}", negative_prompt="no {a}", image="in/{a}.png", mask="m/{a}.png", a=["x"]
        ),
        "matrix",
        {"who": "Ann"},
    )
    assert entry == ItemEntry(
        name="x by Ann", prompt="x", negative_prompt="no x", image="in/x.png", mask="m/x.png", vars={"a": "x"}
    )


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{a.b}", "`{a.b}` must be a plain name"),
        ("{a[0]}", "must be a plain name"),
        ("{a!r}", "must be a plain name"),
        ("{a:>10}", "must be a plain name"),
        ("{}", "must be a plain name"),
        ("{0}", "must be a plain name"),
        ("{a", "brace without its partner"),
        ("a}", "brace without its partner"),
    ],
)
def test_a_template_holds_names_only(template, said):
    with pytest.raises(ValueError, match="brace") as refusal:
        Template.parse(template)
    assert said in str(refusal.value)


def test_double_braces_are_braces():
    assert Template.parse("{{{a}}}").fill({"a": "x{a}"}) == "{x{a}}"


@pytest.mark.parametrize(
    ("kind", "fields", "path", "said"),
    [
        ("matrix", {"prompt": "a"}, "matrix", "at least one list of values"),
        ("zip", {"prompt": "a"}, "zip", "at least one list of values"),
        ("zip", {"a": [1, 2], "b": [1]}, "zip", "equally long (they hold: a 2, b 1)"),
        ("matrix", {"a": ["x", "y", "x"]}, "matrix.a", "lists `x` twice"),
        ("matrix", {"seed": [1, 2]}, "matrix.seed", "seeds_per_item"),
        ("matrix", {"vars": [1, 2]}, "matrix.vars", "give the job `vars`"),
        ("matrix", {"back ground": [1]}, "matrix.back ground", "the name of a variable"),
        ("matrix", {"prompt": "{colr}", "color": [1]}, "matrix.prompt", "did you mean `color`?"),
        ("zip", {"name": "{x}", "color": [1]}, "zip.name", "`{x}` names no list of the zip"),
        ("zip", {"mask": "{", "color": [1]}, "zip.mask", "brace"),
    ],
)
def test_what_cannot_be_expanded(kind, fields, path, said):
    (problem,) = grid_problems(grid(**fields), kind, {})
    assert problem.path == path
    assert said in problem.message


def test_combinations_that_make_no_item_are_named():
    first, second = expand_grid(grid(name="{a}", a=["a/b", "c"]), "matrix", {})
    assert isinstance(second, ItemEntry)
    assert first[0].path == "matrix.name"
    assert first[0].message == "must not hold a path separator (/ or \\) (for a 'a/b')"


axis_names = st.sampled_from(["color", "object", "size", "mood"])
words = st.from_regex(r"[a-z]{1,5}", fullmatch=True)
axes = st.dictionaries(axis_names, st.lists(words, min_size=1, max_size=4, unique=True), min_size=1, max_size=3)


@given(axes)
def test_a_matrix_has_as_many_items_as_combinations_all_different(lists):
    template = " ".join(f"{{{axis}}}" for axis in lists)
    made = grid(prompt=template, **lists)
    assert grid_problems(made, "matrix", {}) == []
    entries = list(expand_grid(made, "matrix", {}))
    assert len(entries) == grid_size(made, "matrix") == math.prod(map(len, lists.values()))
    assert len({collision_key(entry.name) for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.prompt == " ".join(in_text(entry.vars[axis]) for axis in lists)
        assert all(entry.vars[axis] in lists[axis] for axis in lists)


@given(
    st.integers(1, 5).flatmap(
        lambda size: st.dictionaries(axis_names, st.lists(words, min_size=size, max_size=size), min_size=1)
    )
)
def test_a_zip_has_as_many_items_as_its_lists_have_values(lists):
    made = grid(**lists)
    entries = list(expand_grid(made, "zip", {}))
    assert len(entries) == grid_size(made, "zip") == len(next(iter(lists.values())))
    assert [entry.vars for entry in entries] == [
        dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)
    ]


def test_the_size_of_a_huge_matrix_is_known_without_making_it():
    lists = {f"axis{n}": list(range(1000)) for n in range(10)}
    assert grid_size(grid(**lists), "matrix") == 1000**10
