from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.documents.fields import MAX_SEED, Item, check_name, collision_key
from configs.job.items import ItemDraft, Origin, derive_seed, make_items, name_drafts
from configs.job.job import ItemEntry
from configs.settings.access import Access
from configs.settings.settings import Settings

ANYWHERE = Access(Settings())


def drafts(*entries: ItemEntry, folder: str = "/") -> list[ItemDraft]:
    return [ItemDraft(entry, Origin(f"items[{i}]", "job.yaml", i + 1), (folder,)) for i, entry in enumerate(entries)]


def made(*entries: ItemEntry, seed: int = 7, seeds_per_item: int = 1, job_vars=None) -> list[Item]:
    listed = drafts(*entries)
    names, problems = name_drafts(listed)
    assert problems == []
    items, missing = make_items(
        listed, names, seed=seed, seeds_per_item=seeds_per_item, job_vars=job_vars or {}, access=ANYWHERE
    )
    assert missing == []
    return items


def test_items_without_names_are_called_by_what_they_show():
    names, _ = name_drafts(
        drafts(
            ItemEntry(prompt="A red Potion, game icon"),
            ItemEntry(prompt="a red potion (game icon)"),
            ItemEntry(image="photos/My Dog.JPG"),
            ItemEntry(image="s3://bucket/other/my-dog.png"),
            ItemEntry(prompt="???"),
            ItemEntry(name="a-red-potion-game-icon-2", prompt="x"),
        )
    )
    assert names == [
        "a-red-potion-game-icon",
        "a-red-potion-game-icon-3",
        "my-dog",
        "my-dog-2",
        "item-000004",
        "a-red-potion-game-icon-2",
    ]


def test_names_that_differ_in_case_or_form_collide():
    _, problems = name_drafts(drafts(ItemEntry(name="Potion"), ItemEntry(name="potion"), ItemEntry(name="key")))
    assert [(each.path, each.line) for each in problems] == [("items[1].name", 2)]
    assert "an item in line 1 of job.yaml" in problems[0].message


@given(st.lists(st.one_of(st.none(), st.text(max_size=80)), max_size=12))
def test_made_up_names_are_names_and_differ(prompts):
    entries = [ItemEntry.model_construct(name=None, prompt=prompt, image=None) for prompt in prompts]
    names, problems = name_drafts(drafts(*entries))
    assert problems == []
    assert len({collision_key(name) for name in names}) == len(prompts)
    for name in names:
        check_name(name)


def test_own_seeds_are_used_and_others_derived():
    one, two = made(ItemEntry(name="a", seed=3), ItemEntry(name="b"), seeds_per_item=1)
    assert (one.seed, two.seed) == (3, derive_seed(7, "b", 0))


def test_more_seeds_are_more_items():
    items = made(ItemEntry(name="a", seed=3), ItemEntry(name="b"), seeds_per_item=3)
    assert [item.name for item in items] == ["a-1", "a-2", "a-3", "b-1", "b-2", "b-3"]
    assert [item.index for item in items] == list(range(6))
    assert [item.seed for item in items] == [3, derive_seed(3, "a", 1), derive_seed(3, "a", 2)] + [
        derive_seed(7, "b", number) for number in range(3)
    ]


def test_more_seeds_leave_the_first_image_as_it_was():
    (one,) = made(ItemEntry(name="a"))
    first, _ = made(ItemEntry(name="a"), seeds_per_item=2)
    assert first.seed == one.seed


@given(
    st.lists(st.from_regex(r"[a-z]{1,2}", fullmatch=True), unique=True, min_size=1, max_size=6),
    st.integers(0, MAX_SEED),
)
def test_other_items_do_not_change_an_items_seed(names, seed):
    together = {item.name: item.seed for item in made(*(ItemEntry(name=name) for name in names), seed=seed)}
    for name in names:
        (alone,) = made(ItemEntry(name=name), seed=seed)
        assert together[name] == alone.seed
    assert len(set(together.values())) == len(names)


@given(st.integers(0, MAX_SEED), st.text(max_size=10), st.integers(0, 10_000))
def test_seeds_are_numbers_that_every_program_can_hold(base, name, number):
    assert 0 <= derive_seed(base, name, number) < 2**32


def test_a_seed_stays_what_it_was_in_every_version():
    """The first ones had 63 bits."""
    assert derive_seed(7, "red-potion", 0) == 4563724500533836348 % 2**32


def test_variables_of_items_win():
    first, second = made(ItemEntry(name="a", vars={"x": 1}), ItemEntry(name="b"), job_vars={"x": 0, "y": "z"})
    assert (first.vars, second.vars) == ({"x": 1, "y": "z"}, {"x": 0, "y": "z"})


def test_files_are_looked_for_in_each_folder(tmp_path):
    (tmp_path / "job").mkdir()
    (tmp_path / "tables").mkdir()
    (tmp_path / "job" / "a.png").touch()
    (tmp_path / "tables" / "b.png").touch()
    folders = (str(tmp_path / "job"), str(tmp_path / "tables"))
    entries = [
        ItemEntry(image="a.png", mask="b.png"),
        ItemEntry(image=str(tmp_path / "job/a.png"), mask="s3://bucket/b.png"),
        ItemEntry(image="../job/c.png", mask="../tables"),
    ]
    listed = [ItemDraft(entry, Origin("", "t.csv", line), folders) for line, entry in enumerate(entries, 2)]
    items, problems = make_items(listed, ["x", "y", "z"], seed=0, seeds_per_item=1, job_vars={}, access=ANYWHERE)
    assert items[0].image == str(tmp_path / "job/a.png") and items[0].mask == str(tmp_path / "tables/b.png")
    assert items[1].image == str(tmp_path / "job/a.png") and items[1].mask == "s3://bucket/b.png"
    assert [(each.path, each.file, each.line) for each in problems] == [("image", "t.csv", 4), ("mask", "t.csv", 4)]
    assert problems[0].message == f"no such file: {tmp_path}/job/c.png"
    assert all(Path(item.image).is_absolute() for item in items)


@pytest.mark.parametrize("name", ["a:b*c|d", "what?", "con", "NUL", "com1.v2", 'a "b"'])
def test_a_name_that_other_systems_cannot_hold_is_refused_unless_that_is_allowed(name):
    listed = drafts(ItemEntry(name=name))
    _, (problem,) = name_drafts(listed)
    assert (problem.path, problem.line) == ("items[0].name", 1)
    assert "PIXELMILL_PORTABLE_NAMES=false" in problem.message
    assert name_drafts(listed, portable=False) == ([name], [])


@pytest.mark.parametrize("prompt", ["con", "NUL", "aux"])
def test_a_name_made_of_a_prompt_is_one_that_other_systems_hold(prompt):
    assert name_drafts(drafts(ItemEntry(prompt=prompt))) == (["item-000000"], [])
