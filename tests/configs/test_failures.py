"""Restart policies: pauses that double up to a limit, and a bound on tries in vain."""

import pytest

from configs.failures import RestartPolicy


def test_pauses_double_up_to_the_longest():
    policy = RestartPolicy(first_seconds=0.5, longest_seconds=3)
    assert [policy.pause(vain) for vain in (1, 2, 3, 4, 10_000)] == [0.5, 1, 2, 3, 3]


def test_a_jittered_pause_is_a_part_of_the_pause():
    policy = RestartPolicy(first_seconds=2, longest_seconds=60)
    assert all(0 <= policy.jittered_pause(3) <= 8 for _ in range(100))


@pytest.mark.parametrize(("most", "allowed"), [(0, 0), (2, 2), (None, 50)])
def test_tries_in_vain_are_bounded(most: int | None, allowed: int):
    policy = RestartPolicy(most=most)
    assert sum(policy.allows(vain) for vain in range(1, 51)) == allowed
