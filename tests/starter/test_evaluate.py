"""The bars of the evaluation."""

from __future__ import annotations

from starter.evaluate import BARS, Bar


def test_a_bar_holds_from_one_side() -> None:
    assert Bar(least=0.9).holds(0.9)
    assert not Bar(least=0.9).holds(0.89)
    assert Bar(most=0.3).holds(0.3)
    assert not Bar(most=0.3).holds(0.31)


def test_a_value_that_is_no_number_holds_no_bar() -> None:
    assert not any(bar.holds(float("nan")) for bar in BARS.values())
