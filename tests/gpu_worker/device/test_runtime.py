"""The runtime: models are loaded for a job once, recorded, and stay for the next one."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from configs.catalogues import catalogue
from configs.catalogues.models import ModelCatalogue, ModelRef
from configs.settings.settings import Settings
from gpu_worker.device.model_pool import ModelLoadError
from gpu_worker.device.runtime import WorkerRuntime, get_runtime
from storage.ledger.records import StepCounts
from tests.support.fake_steps import Paint, items
from tests.support.mill import JOB, Mill, resolved

COLORS = ("red", "blue")


@pytest.fixture(autouse=True)
def models(tmp_path: Path) -> Path:
    """Two models of 40 MB each."""
    catalogue.extend([Path(__file__).parent / "engines.yaml"])
    folder = tmp_path / "models"
    folder.mkdir()
    for color in COLORS:
        (folder / f"{color}.txt").write_text(color)
        part = f"{{engine: test_color, source: ./{color}.txt, memory_mb: 40}}"
        (folder / f"{color}.yaml").write_text(f"name: {color}\nparts:\n  cutout: {part}\n")
    return folder


def make_settings(tmp_path: Path, budget_mb: int = 100) -> Settings:
    values = {
        "home": tmp_path / "home",
        "device": "cpu",
        "models_path": (tmp_path / "models",),
        "vram_budget_mb": budget_mb,
    }
    return Settings.model_validate(values)


def paint(tmp_path: Path, runtime: WorkerRuntime) -> Mill:
    known = ModelCatalogue(make_settings(tmp_path))
    return Mill(
        tmp_path,
        [resolved(color, Paint(model=color)) for color in COLORS],
        items(4),
        chunk_size=2,
        runtime=runtime,
        model_digests={f"{color}/cutout": known.digest(ModelRef(color, "cutout")) for color in COLORS},
    )


def steps_of(tasks: Sequence[tuple[str, str, StepCounts]]) -> list[str]:
    return [step for _, step, _ in tasks]


def loads_of(mill: Mill) -> dict[str, int]:
    return {model: load.count for model, load in mill.ledger.runs.model_loads(JOB).items()}


def test_models_are_loaded_once_recorded_and_stay_for_the_next_shard(tmp_path: Path) -> None:
    runtime = WorkerRuntime(make_settings(tmp_path))
    mill = paint(tmp_path, runtime)
    assert steps_of(mill.run()) == ["red", "blue", "red", "blue"]
    assert loads_of(mill) == {"red/cutout": 1, "blue/cutout": 1}
    again = paint(tmp_path, runtime)
    again.ledger.items.reset(JOB)
    again.run()
    assert again.ledger.runs.model_loads(JOB, run=2) == {}


def test_models_that_exceed_the_budget_are_loaded_once_a_shard(tmp_path: Path) -> None:
    mill = paint(tmp_path, WorkerRuntime(make_settings(tmp_path, budget_mb=50)))
    assert steps_of(mill.run()) == ["red", "red", "blue", "blue"]
    assert loads_of(mill) == {"red/cutout": 1, "blue/cutout": 1}


def test_other_weights_than_planned_are_refused(tmp_path: Path, models: Path) -> None:
    mill = paint(tmp_path, WorkerRuntime(make_settings(tmp_path)))
    (models / "blue.txt").write_text("green")
    with pytest.raises(ModelLoadError, match="blue/cutout are not those that the job was planned with"):
        mill.run()
    assert mill.ledger.items.progress(JOB).pending == 4


def test_a_model_that_cannot_be_loaded_leaves_the_items_pending(tmp_path: Path, models: Path) -> None:
    part = "{engine: test_color, source: ./red.txt}"
    (models / "red.yaml").write_text(f"name: red\nparts:\n  cutout: {part}\n")
    (models / "red.txt").write_bytes(b"\xff")
    mill = paint(tmp_path, WorkerRuntime(make_settings(tmp_path)))
    with pytest.raises(ModelLoadError, match=r"cannot load model red/cutout .*UnicodeDecodeError"):
        mill.run()
    assert mill.ledger.items.progress(JOB).pending == 4


def test_models_are_loaded_before_work_and_leave_when_idle(tmp_path: Path) -> None:
    runtime = WorkerRuntime(make_settings(tmp_path))
    red, blue = (ModelRef(name, "cutout") for name in COLORS)
    assert runtime.refs(COLORS) == (red, blue)
    assert runtime.resident() == runtime.evict_idle(0) == ()
    for ref in (red, blue):
        runtime.load(ref)
    assert runtime.resident() == (red, blue)
    assert runtime.evict_idle(3600) == ()
    assert runtime.evict_idle(0, keep=(red,)) == (blue,)
    assert runtime.has_room_for(blue)


def test_room_is_what_the_budget_leaves(tmp_path: Path) -> None:
    runtime = WorkerRuntime(make_settings(tmp_path, budget_mb=50))
    runtime.load(ModelRef("red", "cutout"))
    assert not runtime.has_room_for(ModelRef("blue", "cutout"))


def test_a_context_keeps_its_models_until_it_ends(tmp_path: Path) -> None:
    runtime = WorkerRuntime(make_settings(tmp_path))
    with runtime.context() as context:
        assert context.model(ModelRef("red", "cutout")) == "red"
        assert runtime.evict_idle(0) == ()
    assert runtime.evict_idle(0) == (ModelRef("red", "cutout"),)


def test_a_process_has_one_runtime(tmp_path: Path) -> None:
    assert get_runtime(make_settings(tmp_path)) is get_runtime(make_settings(tmp_path))
    assert get_runtime(make_settings(tmp_path)).name.rpartition(":")[2].isdigit()
