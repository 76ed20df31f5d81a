"""Prompt templates: names in braces, filled in once, and nothing that reaches into Python or grows without end."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from steps.generate import Generate
from steps.template import MAX_PROMPT, fill, filled_length, placeholders
from tests.steps import images


@pytest.mark.parametrize(
    "template",
    [
        "{prompt.__class__}",
        "{prompt.__class__.__mro__[1].__subclasses__}",
        "{prompt[0]}",
        "{prompt!r}",
        "{prompt:>999999999}",
        "{prompt:{name}}",
        "{0}",
        "{}",
        "{ prompt }",
        "{a-b}",
        "{prompt",
        "prompt}",
    ],
)
def test_anything_but_a_name_is_refused(template: str) -> None:
    with pytest.raises(ValidationError):
        Generate(model="tiny", prompt=template)


def test_values_are_filled_in_once() -> None:
    item = images.item(prompt="{name} {style} {{x}} {name.__class__}", vars={"style": "{prompt}"})
    assert fill("{style}: {prompt}, {{name}}", item) == "{prompt}: {name} {style} {{x}} {name.__class__}, {name}"


@given(st.text("ab{} ", max_size=20), st.text("ab{}", max_size=8))
def test_the_length_is_known_before_it_is_filled_in(template: str, value: str) -> None:
    item = images.item(prompt=value, vars={"a": value, "b": 1, "ab": None, "ba": "", "aa": True, "bb": 0.5})
    try:
        known = all(name in {*item.vars, "prompt", "name"} for name in placeholders(template))
    except ValueError:
        return
    if known:
        assert filled_length(template, item) == len(fill(template, item))


def test_a_long_value_that_is_named_often_is_refused_for_little() -> None:
    step = Generate(model="tiny", prompt="{style}" * (MAX_PROMPT // 7))
    item = images.item(vars={"style": "x" * 10_000})
    start = time.process_time()
    for _ in range(100):
        (problem,) = step.item_problems(item)
    assert "has a prompt of 14,280,000 characters" in problem
    assert time.process_time() - start < 2
