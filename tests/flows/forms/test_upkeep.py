"""The forms about one job: what they say of a job that nobody knows."""

from contextlib import closing
from pathlib import Path

import pytest

from configs.documents.problems import InvalidInput
from flows.forms.upkeep import JobForm
from storage.ledger.ledger import Ledger


def test_an_unknown_job_is_a_mistake_of_the_field_that_names_it(tmp_path: Path) -> None:
    with closing(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")) as ledger, pytest.raises(InvalidInput) as refused:
        JobForm(job="nix").find_job(ledger)
    (problem,) = refused.value.problems
    assert (problem.path, "no job 'nix'" in problem.message) == ("job", True)
