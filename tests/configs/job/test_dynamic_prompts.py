"""Choices in prompts: the same for the same seed, within bounds, and never half understood."""

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.job.dynamic_prompts import WordLists, expand_prompt
from configs.job.file_sets import FileSet

FILES = {
    "colors.txt": "red\n# no color\n\n  blue \n",
    "light/soft.txt": "3::dusk\ndawn\n",
    "light/hard.txt": "noon\n",
    "scene.txt": "a __colors__ {house|hut}\n",
    "circle.txt": "__circle__\n",
    "twice.txt": "__twice2__ __twice2__\n",
    "twice2.txt": "__twice3__ __twice3__\n",
    "twice3.txt": f"{'x' * 3000}\n",
    "broken.txt": "a {b\n",
    "empty.txt": "# nothing\n",
    "long.txt": "x\n" * 5_000_001,
    "notes.md": "no list\n",
}
LISTS = WordLists(FileSet("/lists", tuple(FILES)), lambda uri: FILES[uri.removeprefix("/lists/")].encode())


def expand(text: str, seed: int = 1) -> str:
    return expand_prompt(text, seed, "prompt", LISTS)


def all_of(text: str, seeds: int = 300) -> set[str]:
    return {expand(text, seed) for seed in range(seeds)}


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("a {red|blue} key", {"a red key", "a blue key"}),
        ("a { red | blue } key", {"a red key", "a blue key"}),
        ("a {red|} key", {"a red key", "a key"}),
        ("{a|{b|c}}", {"a", "b", "c"}),
        ("{2$$a|b}", {"a, b", "b, a"}),
        ("{2$$ and $$a|b}", {"a and b", "b and a"}),
        ("{1-2$$+$$a|b}", {"a", "b", "a+b", "b+a"}),
        ("{0-1$$a}", {"", "a"}),
        ("{-2$$+$$a|b}", {"a", "b", "a+b", "b+a"}),
        ("{2-$$+$$a|b}", {"a+b", "b+a"}),
        ("{9$$+$$a|b}", {"a+b", "b+a"}),
        ("{0::a|b}", {"b"}),
        ("{~a|b}", {"a", "b"}),
        ("__colors__ key", {"red key", "blue key"}),
        ("__light/*__", {"dusk", "dawn", "noon"}),
        ("__scene__", {"a red house", "a blue house", "a red hut", "a blue hut"}),
        ("{2$$ $$__colors__}", {"red blue", "blue red"}),
        (r"\{a\|b\} a|b snake\__case__", {"{a|b} a|b snake__case__"}),
        ("a (red:1.3) key, costs $5, 50% off #1", {"a (red:1.3) key, costs $5, 50% off #1"}),
        ("two  spaces", {"two  spaces"}),
    ],
)
def test_what_a_prompt_can_become(text: str, made: set[str]) -> None:
    assert all_of(text) == made


def test_the_same_seed_makes_the_same_choices_and_fields_choose_apart() -> None:
    text = "{a|b|c|d} __colors__ {1-3$$x|y|z}"
    assert expand(text, 7) == expand(text, 7) == "b red x, z, y"
    made = [(expand(text, seed), expand_prompt(text, seed, "negative_prompt", LISTS)) for seed in range(50)]
    assert any(one != other for one, other in made)


def test_weights_are_relative() -> None:
    counts = Counter(expand("{3::a|b}", seed) for seed in range(1000))
    assert 700 < counts["a"] < 800


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a {b", "has a `{` without its `}`"),
        ("a }", "has a `}` without its `{`"),
        ("__colours__", "names the list `__colours__`, which is not in /lists; did you mean `colors`?"),
        ("__notes.md__", "which is not in /lists"),
        ("__empty__", "which has no lines"),
        ("__long__", "names the list long.txt, which has more than 10,000,000 characters"),
        ("__broken__", "names the list `__broken__`, a line of which has a `{` without its `}`"),
        ("__circle__", "more than 20 deep: one may name itself"),
        ("__twice__", "becomes longer than 10,000 characters"),
        ("{" * 21 + "a" + "}" * 21, "has braces within braces, more than 20 deep"),
        ("{a|b}" * 1001, "takes more than 1,000 choices"),
        ("${x={a|b}} ${x}", "holds `${…}`, which is not supported"),
        ("{@a|b}", "holds `{@…}`, which is not supported: a `matrix` makes all combinations"),
    ],
)
def test_a_prompt_that_cannot_be_expanded_says_why(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        expand(text)


@given(st.text(alphabet="{}|$-_:~12ab.*/\\ ", max_size=60))
def test_any_text_is_expanded_or_refused(text: str) -> None:
    try:
        assert isinstance(expand(text), str)
    except ValueError as error:
        assert str(error)
