"""Jobs that meet in one folder: of two ledgers, of one, and of ledgers that were lost."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from configs.documents.problems import InvalidInput
from flows.cli.verify import verify_command
from flows.job.plan import continue_job, job_identity, make_plan, start_job
from storage.images.job_mark import MARK, read_mark
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobRecord
from storage.objects.open_store import open_store
from tests.flows.job.workspace import Workspace, job
from tests.support.new_ledger import new_ledger

OTHER_PROMPTS = job("items: [{name: potion, prompt: a blue potion, vars: {transparent: true}}]")


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Ledger]:
    with closing(new_ledger(tmp_path / "ours.db")) as ledger:
        yield ledger


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Ledger]:
    with closing(new_ledger(tmp_path / "theirs.db")) as ledger:
        yield ledger


@pytest.fixture
def out(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "out"


def begin(workspace: Workspace, ledger: Ledger, text: str = job()) -> tuple[JobRecord, list[str]]:
    said: list[str] = []
    return start_job(workspace.request(text), ledger, workspace.settings, log=said.append), said


def test_a_job_of_another_ledger_with_other_contents_is_not_replaced(
    workspace: Workspace, ours: Ledger, theirs: Ledger, out: Path
) -> None:
    begin(workspace, theirs)
    before = (out / "icons" / MARK).read_bytes()
    request = workspace.request(OTHER_PROMPTS)
    with pytest.raises(InvalidInput, match=r"another ledger.*choose another name or output") as refused:
        start_job(request, ours, workspace.settings, log=print)
    assert [problem.path for problem in refused.value.problems] == ["name"]
    with pytest.raises(InvalidInput, match="choose another name or output"):
        make_plan(request, ours, workspace.settings)
    assert (ours.jobs.count(), (out / "icons" / MARK).read_bytes()) == (0, before)


def test_ledgers_may_share_one_job(workspace: Workspace, ours: Ledger, theirs: Ledger, out: Path) -> None:
    begin(workspace, theirs)
    mine, _ = begin(workspace, ours)
    mark = read_mark(open_store(out, workspace.settings), "icons")
    assert mark is not None and mark.is_of(mine)


def test_a_job_whose_folder_another_ledger_has_taken_does_not_go_on(
    workspace: Workspace, ours: Ledger, theirs: Ledger, out: Path
) -> None:
    mine, _ = begin(workspace, ours)
    begin(workspace, theirs)
    begin(workspace, theirs, OTHER_PROMPTS)
    with pytest.raises(InvalidInput, match="another ledger"):
        continue_job(mine, ours, workspace.settings)


def test_a_lost_ledger_s_folder_is_taken_over_by_a_repair(
    workspace: Workspace, ours: Ledger, theirs: Ledger, out: Path
) -> None:
    begin(workspace, theirs)
    request = workspace.request(OTHER_PROMPTS)
    path = str(workspace.folder / "job.yaml")
    identifier = job_identity(request, workspace.settings)
    verify_command(identifier, path, ours, workspace.settings, repair=True, console=Console(quiet=True))
    assert start_job(request, ours, workspace.settings, log=print).id == identifier


def test_a_job_that_an_earlier_version_began_goes_on_and_is_marked(
    workspace: Workspace, ours: Ledger, out: Path
) -> None:
    mine, _ = begin(workspace, ours)
    (out / "icons" / MARK).unlink()
    continue_job(mine, ours, workspace.settings)
    again, said = begin(workspace, ours)
    mark = read_mark(open_store(out, workspace.settings), "icons")
    assert mark is not None and mark.is_of(again)
    assert said == []


def test_images_that_nobody_has_marked_are_replaced_with_a_word(workspace: Workspace, ours: Ledger, out: Path) -> None:
    (out / "icons" / "final").mkdir(parents=True)
    (out / "icons" / "final" / "potion.png").touch()
    _, said = begin(workspace, ours)
    assert said == [
        f"{out}/icons holds images that no job in this ledger has made: those of the same names are replaced"
    ]


def test_a_job_whose_contents_have_changed_says_what_it_replaces(workspace: Workspace, ours: Ledger, out: Path) -> None:
    mine, _ = begin(workspace, ours)
    done = ItemResult(ItemState.DONE, finals={"large": "icons/final/potion.png"})
    ours.steps.record(mine.id, mine.run, "large", [], {0: done})
    expected = [f"recipe, items or models have changed since the last run: its images in {out}/icons are replaced (1)"]
    plan = make_plan(workspace.request(OTHER_PROMPTS), ours, workspace.settings)
    _, said = begin(workspace, ours, OTHER_PROMPTS)
    assert said == list(plan.notices) == expected
