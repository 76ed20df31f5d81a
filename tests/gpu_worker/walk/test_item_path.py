"""Planning: what a job would compute is known without torch, and quickly."""

import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from gpu_worker.walk.item_context import ItemError, JobMismatch, provenance_of
from gpu_worker.walk.item_path import ItemPath
from gpu_worker.walk.prediction import Forecast, forecast
from steps.contract import Step
from steps.recipe.program import ResolvedStep, Visit
from steps.remove_background import RemoveBackground
from storage.images.png_recipe import Provenance
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import MissingObject
from tests.support.fake_steps import Fill, Invert, items
from tests.support.mill import resolved, straight


@pytest.mark.parts
def test_planning_and_running_load_nothing_heavy() -> None:
    program = (
        "import sys, gpu_worker.walk.item_path, gpu_worker.shard.shard_run; "
        "print([name for name in ('torch', 'diffusers', 'rembg', 'realesrgan', 'boto3', 'prefect', 'pyarrow') "
        "if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def nothing(fingerprints: Sequence[str]) -> dict[str, ArtefactRecord]:
    return {}


def visit(name: str, step: Step) -> Visit:
    return straight([ResolvedStep(name, name, step)]).visits[0]


def provenance_at(path: ItemPath, visit: Visit) -> Provenance:
    return provenance_of(visit, path.item, path.fingerprint, {}, lambda _: "")


def fresh(seed: int = 0) -> ItemPath:
    return ItemPath(items(1)[0].model_copy(update={"seed": seed}), straight([]))


@pytest.mark.parts
def test_ten_thousand_items_take_one_look_up_a_step() -> None:
    look_ups: list[int] = []

    def find(fingerprints: Sequence[str]) -> dict[str, ArtefactRecord]:
        look_ups.append(len(fingerprints))
        return {}

    steps = [resolved("a", Fill())] + [resolved(f"b{n}", Invert(tag=n), when=f"item.seed >= {n}") for n in range(3)]
    start = time.process_time()
    found = forecast(items(10_000), straight(steps), model_digests={}, find_artefacts=find, digest_file=lambda _: "")
    assert time.process_time() - start < 5  # 1.2 s where this was written
    assert found["a"] == Forecast(computed=10_000)
    assert found["b2"] == Forecast(computed=9_998, skipped=2)
    assert look_ups == [10_000, 10_000, 9_999, 9_998]


def test_items_that_share_a_fingerprint_are_forecast_to_be_computed_once() -> None:
    twins = [item.model_copy(update={"seed": 1}) for item in items(5)]
    found = forecast(
        twins, straight([resolved("a", Fill())]), model_digests={}, find_artefacts=nothing, digest_file=lambda _: ""
    )
    assert found == {"a": Forecast(computed=1, reused=4)}


def test_a_missing_file_counts_nowhere() -> None:
    from steps.load import Load

    def missing(location: str) -> str:
        raise MissingObject(location)

    some = [item.model_copy(update={"image": "/nowhere.png"}) for item in items(2)]
    steps = [resolved("a", Load()), resolved("b", Invert())]
    found = forecast(some, straight(steps), model_digests={}, find_artefacts=nothing, digest_file=missing)
    assert found == {"a": Forecast(), "b": Forecast()}


def test_an_unknown_fact_decides_nothing_but_its_absence_does() -> None:
    program = straight([resolved("a", Fill()), resolved("b", Invert(), when="facts.a.brightness > 0.5")])
    made, asked = program.visits
    assert ItemPath(items(1)[0], program).wants(asked) is False
    path = ItemPath(items(1)[0], program)
    path.visit(made, provenance_at(path, made), None)
    assert path.copy().wants(asked) is None
    path.facts["a"] = {"brightness": 0.9}
    assert path.wants(asked) is True


def test_a_step_without_an_image_before_it_is_refused() -> None:
    with pytest.raises(ItemError, match="begin with `generate` or `load`"):
        provenance_at(fresh(), visit("b", Invert()))


def test_a_model_that_the_job_was_not_planned_with_is_refused() -> None:
    path = fresh()
    made = visit("a", Fill())
    path.visit(made, provenance_at(path, made), {})
    with pytest.raises(JobMismatch, match="plan it again"):
        provenance_at(path, visit("cut", RemoveBackground(model="starter")))


def test_the_fingerprint_changes_with_everything_that_decides_the_image() -> None:
    def marked(step: Fill | Invert, *, seed: int = 0, width: int = 8) -> str:
        path = fresh(seed)
        made = visit("a", Fill(width=width))
        path.visit(made, provenance_at(path, made), {})
        return provenance_at(path, visit("b", step)).fingerprint

    class Newer(Invert):
        version = 2

    Newer.__name__ = "Invert"
    prints = [
        marked(Invert()),
        marked(Invert(tag=1)),
        marked(Invert(), seed=1),
        marked(Invert(), width=9),
        marked(Newer()),
        marked(Fill()),
    ]
    assert len(set(prints)) == len(prints)
    assert marked(Invert()) == prints[0]
