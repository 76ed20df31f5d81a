"""docs/steps.md says what the classes say."""

from tests.steps.step_tables import DOCUMENT, tables, written


def test_the_tables_are_those_of_the_classes() -> None:
    assert written(DOCUMENT.read_text()) == tables(), "run: python -m tests.steps.step_tables"
