"""The parts of the tests: each test belongs to one of them, and a unit test is held to what it may do."""

import itertools
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
EXPRESSIONS = dict(re.findall(r'^test-(\w+): install.*\n\t.*/pytest -m "?([\w ]+)', MAKEFILE, re.MULTILINE))
MARKS = ("e2e", "parts", "slow")


def test_each_test_belongs_to_one_part() -> None:
    assert set(EXPRESSIONS) == {"unit", "parts", "e2e", "slow"}
    for has in itertools.product([False, True], repeat=len(MARKS)):
        names = dict(zip(MARKS, has, strict=True))
        assert sum(eval(expression, {}, names) for expression in EXPRESSIONS.values()) == 1, names


def test_all_tests_are_those_parts_the_fast_ones_first() -> None:
    assert re.search(r"^test: test-unit test-parts test-e2e\b", MAKEFILE, re.MULTILINE)


def test_a_unit_test_starts_no_process() -> None:
    with pytest.raises(pytest.fail.Exception, match="starts a process"):
        subprocess.run(["true"], check=True)


def test_a_unit_test_loads_no_library_that_computes_models() -> None:
    with pytest.raises(pytest.fail.Exception, match="loads torch"):
        sys.audit("import", "torch", None, None, None, None)
