"""What the benchmarks make of what they see."""

from collections import Counter

import pytest

from benchmarks.bare_process import BareContext, run_bare
from benchmarks.gpu_load import busy_share
from benchmarks.job_files import plain_items, starter_items, write_job
from benchmarks.memory import growth
from benchmarks.processes import spent
from benchmarks.resident import BenchmarkFailed
from configs.conditions import Condition
from configs.settings.settings import Settings
from flows.job.plan import read_plan_request
from steps.recipe.program import ResolvedStep
from tests.support.fake_steps import items
from tests.support.mill import straight
from tests.support.null.steps import NullGenerate, NullPass


def test_growth_is_counted_from_when_the_first_items_were_done():
    samples = [(0, 900.0), (40, 100.0), (100, 110.0), (150, 135.0), (200, 120.0)]
    assert growth([(done, {"child": held}) for done, held in samples], "child", 100) == (110.0, 135.0)


def test_memory_that_falls_has_not_grown():
    assert growth([(10, {"child": 50.0}), (20, {"child": 40.0})], "child", 10) == (50.0, 50.0)


def test_a_job_too_short_to_see_growth_is_no_measurement():
    with pytest.raises(BenchmarkFailed, match="too short"):
        growth([(0, {"child": 1.0}), (9, {"child": 1.0}), (10, {"child": 1.0})], "child", 10)


def test_a_device_is_busy_by_its_mean_load_between_the_first_and_the_last():
    assert busy_share([0, 0, 100, 50, 0, 90, 0, 0, 0]) == pytest.approx(0.6)


def test_a_device_without_load_is_idle():
    assert busy_share([0, 0]) == 0
    assert busy_share([]) == 0


def test_cpu_is_told_by_role_and_in_all():
    used = spent({"child": 1.0, "server": 10.0}, {"child": 4.0, "server": 12.0})
    assert used == {"child": 3.0, "server": 2.0, "all": 5.0}


def test_starter_items_have_their_own_names_and_all_ways_through_the_recipe():
    made = starter_items(70)
    assert len({item["name"] for item in made}) == 70
    ways = Counter("cut" if "transparent" in vars else "scene" if "scene" in vars else "plain" for vars in _vars(made))
    assert ways == {"cut": 30, "scene": 20, "plain": 20}


def _vars(made):
    return [item.get("vars", {}) for item in made]


@pytest.mark.parametrize("make", [plain_items, starter_items])
def test_a_written_job_is_one_that_can_run(make, tmp_path):
    job = write_job(tmp_path, "job", recipe="starter", output=str(tmp_path / "out"), items=make(14), seed=3)
    request = read_plan_request(job, Settings(home=tmp_path / "home"))
    assert len(request.items) == 14
    assert len({item.seed for item in request.items}) == 14


def test_the_bare_loop_takes_only_those_through_a_step_whose_facts_ask_for_it(tmp_path):
    def step(step_id, step, when=None):
        return ResolvedStep(step_id, step_id, step, Condition.parse(when) if when else None)

    recipe = [
        step("base", NullGenerate(size=8)),
        step("negative", NullPass(), "facts.base.brightness < 0.5"),
        step("again", NullPass(), "vars.again"),
    ]
    settings = Settings(home=tmp_path, device="cpu", chunk_size=4, micro_batch=3)
    made = items(9, vars={"again": False})
    images = run_bare(made, straight(recipe), BareContext(settings), settings)
    assert [image.size for image in images] == [(8, 8)] * 9
    # The dark ones were inverted: none is left. Some were bright from the start, or nothing was decided.
    assert all(_brightness(image) >= 0.5 for image in images)
    bases = run_bare(made, straight(recipe[:1]), BareContext(settings), settings)
    assert 0 < sum(_brightness(image) < 0.5 for image in bases) < 9


def _brightness(image):
    return image.convert("L").getpixel((0, 0)) / 255
