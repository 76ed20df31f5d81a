"""The benchmark of the gates: what is planted is there, and the arithmetic is right."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from benchmarks.gates.__main__ import REPORTING_SEED, TUNING_SEED, main
from benchmarks.gates.defects import DEFECTS
from benchmarks.gates.picture import SCALE, Asked, Picture, Stage
from benchmarks.gates.report import LEAST_RECALL, MOST_FALSE_ALARMS, results, table
from benchmarks.gates.soundness import is_sound
from benchmarks.gates.store import Store
from benchmarks.gates.trial import Case, Trial
from benchmarks.gates.verdict import GATES_AT
from benchmarks.gates.workshop import asked_for
from configs.catalogues.gates import read_gates
from configs.settings.settings import Settings
from starter.sprites import COLORS, OBJECTS, draw_sprite

pytestmark = pytest.mark.parts  # draws hundreds of pictures

ASKED = Asked("shield", "blue", "white", 41)


def drawn(asked: Asked) -> Picture:
    sprite = draw_sprite(asked.object, asked.color, asked.background, asked.seed)
    cutout = sprite.image.copy()
    cutout.putalpha(sprite.mask)
    return Picture(asked, "drawn", (Stage("cutout", cutout, sprite.image),))


class Supplies:
    """What planters ask for, without a model."""

    def enlarged(self, picture: Picture) -> Picture:
        large = picture.cutout.resize((SCALE * 64, SCALE * 64), Image.Resampling.BICUBIC)
        return Picture(picture.asked, picture.origin, (picture.stages[0], Stage("large", large, picture.cutout)))

    def other(self, picture: Picture, rng, *, object: bool) -> Picture:
        asked = picture.asked
        return drawn(
            Asked("apple", asked.color, asked.background, 1) if object else Asked(asked.object, "red", "white", 1)
        )


@pytest.fixture(params=list(DEFECTS))
def kind(request) -> str:
    return request.param


@pytest.fixture
def sound(kind) -> Picture:
    picture = drawn(ASKED)
    return Supplies().enlarged(picture) if DEFECTS[kind].only_large else picture


def planted(kind: str, picture: Picture, seed: int) -> Picture:
    return DEFECTS[kind].plant(picture, np.random.default_rng(seed), Supplies())


def test_every_defect_shows_in_the_image_and_is_as_large(kind, sound):
    for seed in range(8):
        defective = planted(kind, sound, seed)
        assert defective.final.tobytes() != sound.final.tobytes()
        assert (defective.final.size, defective.final.mode) == (sound.final.size, "RGBA")
        assert [stage.step for stage in defective.stages] == [stage.step for stage in sound.stages]
        assert defective.asked == sound.asked


def test_the_same_seed_plants_the_same(kind, sound):
    assert planted(kind, sound, 5).final.tobytes() == planted(kind, sound, 5).final.tobytes()


def test_in_large_pictures_too(kind):
    large = Supplies().enlarged(drawn(ASKED))
    assert planted(kind, large, 3).final.size == (256, 256)


def test_every_gate_of_a_step_is_shipped():
    assert {name for listed in GATES_AT.values() for name in listed} <= set(read_gates(Settings()))


def test_tuning_and_reporting_do_not_share_a_seed():
    assert TUNING_SEED != REPORTING_SEED
    seeds = [{asked.seed for asked in asked_for(50, np.random.default_rng(1), seed * 10_000_000)} for seed in (1, 2)]
    assert not seeds[0] & seeds[1]


def test_objects_and_colors_come_as_often():
    asked = asked_for(len(OBJECTS) * len(COLORS), np.random.default_rng(0), 0)
    assert len({(each.object, each.color) for each in asked}) == len(asked)


class TestSoundness:
    def test_a_drawn_sprite_is_sound(self):
        assert is_sound(drawn(ASKED))

    @pytest.mark.parametrize("asked", [Asked("key", "blue", "white", 41), Asked("shield", "pink", "white", 41)])
    def test_what_was_not_asked_for_is_not(self, asked):
        picture = drawn(ASKED)
        assert not is_sound(Picture(asked, "drawn", picture.stages))

    @pytest.mark.parametrize("defect", ["blank", "cut off", "wrong object", "wrong color"])
    def test_defects_are_not(self, defect):
        assert not is_sound(planted(defect, drawn(ASKED), 1))


class TestStore:
    def test_a_picture_is_made_once(self, tmp_path):
        made = []

        def make(part):
            made.extend(part)
            return [drawn(asked) for asked in part]

        first = Store(tmp_path).pictures([ASKED], "drawn", make)
        second = Store(tmp_path).pictures([ASKED], "drawn", make)
        assert made == [ASKED]
        assert first[0].cutout.tobytes() == second[0].cutout.tobytes()
        assert first[0].base.tobytes() == second[0].base.tobytes()

    def test_an_enlarged_one_too(self, tmp_path):
        store, picture = Store(tmp_path), drawn(ASKED)
        first = store.enlarged(picture, Supplies().enlarged)
        second = store.enlarged(picture, lambda _: pytest.fail("made again"))
        assert first.final.tobytes() == second.final.tobytes()
        assert second.is_large


class TestReport:
    def trial(self, found: int, flagged: int) -> Trial:
        picture = drawn(ASKED)

        def cases() -> Iterator[Case]:
            for index in range(1000):
                yield Case(picture, None, frozenset({"sharp"} if index < flagged else ()))
            for kind in DEFECTS:
                for index in range(100):
                    yield Case(picture, kind, frozenset({"clean", "sharp"} if index < found else ()))

        return Trial(7, tuple(cases()), generated=0, unsound=0)

    def test_at_the_bars(self):
        found = results(self.trial(found=95, flagged=10))
        assert found["missed"] == []
        assert found["recall"]["noise"] == LEAST_RECALL
        assert found["false_alarms"] == MOST_FALSE_ALARMS
        assert found["fired"]["noise"] == {"clean": 0.95, "sharp": 0.95}
        assert found["false_alarms_by_gate"] == {"sharp": 0.01}

    def test_below_them(self):
        assert results(self.trial(found=94, flagged=11))["missed"] == [
            *(f"recall of {kind}" for kind in DEFECTS),
            "false alarms",
        ]

    def test_nothing_sound_is_no_success(self):
        trial = self.trial(found=100, flagged=0)
        emptied = Trial(7, tuple(case for case in trial.cases if case.defect), 0, 0)
        assert results(emptied)["missed"] == ["false alarms"]

    def test_a_line_for_each_kind(self):
        lines = list(table(results(self.trial(found=90, flagged=0))))
        assert all(any(line.startswith(kind) and "MISSED" in line for line in lines) for kind in DEFECTS)


@pytest.mark.e2e
@pytest.mark.slow
def test_a_tiny_run(tmp_path, capsys):
    status = main(["--scale", "0.004", "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert status == 0
    assert found["sound"] == 8
    assert set(found["recall"]) == set(DEFECTS)
    assert json.loads((tmp_path / "out" / f"gates-{REPORTING_SEED}.json").read_text())["recall"] == found["recall"]
