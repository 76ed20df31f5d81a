import time

import pytest

from configs.job.prompt_dialects import remarks


@pytest.mark.parametrize(
    ("prompt", "sign", "said"),
    [
        ("a (red:1.3) key", "(red:1.3)", "is no weight to the models here, which read it as letters"),
        ("a [red:blue:0.5] key", "[red:blue:0.5]", "is no weight"),
        ("a ((red)) key", "((red))", "is no weight"),
        ("a key BREAK a gem", "BREAK", "is no break"),
        ("a key <lora:x:0.8>", "<lora:x:0.8>", "is no model or embedding"),
        ("embedding:easy-1 a key", "embedding:easy-1", "is no model or embedding"),
        ("a {red|blue} key", "{red|blue}", "is no choice without the job's `dynamic_prompts: true`"),
        ("{2$$a|b}", "{2$$a|b}", "is no choice"),
        ("a __colors__ key", "__colors__", "is no choice"),
    ],
)
def test_signs_of_other_programs_are_told_with_the_items_that_have_them(prompt: str, sign: str, said: str) -> None:
    (notice,) = remarks([("a", prompt), ("b", "a plain key"), ("c", prompt)], expanded=False)
    assert notice.startswith(f"`{sign}` {said}") and notice.endswith("in 2 prompts (a, c)")


@pytest.mark.parametrize(
    "prompt", ["a red key (old)", "16:9 [sic]", "{prompt}", "snake_case", "at 10:30 (noon)", "a|b"]
)
def test_ordinary_prompts_are_not_remarked_on(prompt: str) -> None:
    assert list(remarks([("a", prompt)], expanded=False)) == []


def test_each_kind_is_told_once() -> None:
    notices = list(remarks([(f"n{i}", f"(red:1.{i}) key BREAK (blue:2)") for i in range(5)], expanded=False))
    assert (
        notices[0]
        == "`(red:1.0)` is no weight to the models here, which read it as letters: in 5 prompts (n0, n1, n2 …)"
    )
    assert len(notices) == 2


def test_what_is_left_of_expanded_prompts_is_meant_so() -> None:
    assert list(remarks([("a", "{red|blue} __x__")], expanded=True)) == []


@pytest.mark.parametrize("text", ["(" + ":" * 9_999, "{" + "|" * 9_999, "(:" + "1" * 9_998, "_" * 10_000, "(" * 10_000])
def test_no_prompt_takes_long_to_look_at(text: str) -> None:
    begun = time.perf_counter()
    list(remarks([("a", text)], expanded=False))
    assert time.perf_counter() - begun < 0.5
