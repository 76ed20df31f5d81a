"""What a step warns of goes with every item that is made of its image, however often the image is reused."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

from configs.documents.fields import Item
from gpu_worker.walk.prediction import replay
from steps.contract import Frame, Step, StepContext, StepResult
from storage.ledger.records import ItemState
from tests.support.fake_steps import Fill, Invert, items
from tests.support.mill import JOB, Mill, resolved


class Doubt(Step):
    """Passes images on and warns of those of odd items."""

    @override
    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        return [
            StepResult(frame.input_image, warnings=("first", "second") if frame.item.index % 2 else ())
            for frame in frames
        ]


class DoubtfulJudge(Doubt):
    keeps_image: ClassVar[bool] = True


def warnings(mill: Mill) -> list[tuple[str, ...]]:
    assert all(report.record.state is ItemState.DONE for report in mill.reports())
    return [report.record.warnings for report in mill.reports()]


def test_an_item_has_the_warnings_of_its_steps_and_keeps_them_when_the_images_are_reused(tmp_path: Path) -> None:
    steps = [resolved("made", Fill()), resolved("doubt", Doubt()), resolved("negative", Invert())]
    mill = Mill(tmp_path, steps, items(2))
    mill.run()
    expected = [(), ("doubt: first", "doubt: second")]
    assert warnings(mill) == expected
    mill.ledger.items.reset(JOB)
    assert [counts.reused for _, _, counts in mill.run()] == [2, 2, 2]
    assert warnings(mill) == expected


def test_a_step_that_only_measures_warns_too(tmp_path: Path) -> None:
    mill = Mill(tmp_path, [resolved("made", Fill()), resolved("seen", DoubtfulJudge())], items(2))
    mill.run()
    assert warnings(mill) == [(), ("seen: first", "seen: second")]


def test_twins_share_a_warning(tmp_path: Path) -> None:
    twins = [Item(index=index, name=f"i{index}", seed=1) for index in (1, 2)]
    mill = Mill(tmp_path, [resolved("made", Fill()), resolved("doubt", Doubt())], twins)
    mill.run()
    assert warnings(mill) == [("doubt: first", "doubt: second")] * 2


def test_a_replay_finds_the_same_warnings(tmp_path: Path) -> None:
    mill = Mill(tmp_path, [resolved("made", Fill()), resolved("doubt", Doubt())], items(2))
    mill.run()
    for report in mill.reports():
        assert replay(report.record.item, mill.program, report.steps).warnings == report.record.warnings
