"""Real models on a simulated device of little memory: everything that can be made is made, and looks as it should."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gpu_worker.device.batch_sizes import BatchPlan
from steps.contract import MemoryFallback
from storage.ledger.records import ItemState, Outcome
from tests.gpu_worker.device import small_job
from tests.gpu_worker.device.small_job import SIDES, UPSCALER_ROOM, WatchedGenerate, upscaling
from tests.support import tiny_models
from tests.support.mill import JOB, Mill

pytestmark = pytest.mark.e2e

NONE, TILE, OFFLOAD = MemoryFallback


@pytest.fixture(autouse=True)
def tried() -> Iterator[list[BatchPlan]]:
    """What the steps under test were asked to compute, failed tries included."""
    small_job.TRIED.clear()
    yield small_job.TRIED
    small_job.TRIED.clear()


@pytest.fixture(scope="module")
def diffusion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "diffusion"
    tiny_models.write_diffusion_model(folder)
    return folder


def pixels(mill: Mill) -> dict[str, np.ndarray]:
    """Item -> its final image."""
    finals = mill.finals()
    return {Path(key).stem: np.asarray(Image.open(io.BytesIO(encoded)), dtype=int) for key, encoded in finals.items()}


def states(mill: Mill) -> list[ItemState]:
    return [report.record.state for report in mill.reports()]


def test_upscaling_takes_what_relief_it_needs_and_the_pixels_stay(tmp_path: Path, tried: list[BatchPlan]) -> None:
    job = upscaling(tmp_path)
    job.run()
    fits = [BatchPlan(1)]
    in_tiles = [BatchPlan(2), BatchPlan(1), BatchPlan(1, TILE), BatchPlan(1, TILE)]
    on_the_host, nowhere = (
        [BatchPlan(1), BatchPlan(1, TILE), BatchPlan(1, OFFLOAD)],
        [BatchPlan(1), BatchPlan(1, TILE), BatchPlan(1, OFFLOAD)],
    )
    assert tried == [*fits, *in_tiles, *on_the_host, *nowhere]
    assert states(job) == [ItemState.DONE] * 4 + [ItemState.QUARANTINED]

    (tmp_path / "ample").mkdir()
    ample = upscaling(tmp_path / "ample", small=False)
    ample.run()
    expected, made = pixels(ample), pixels(job)
    assert sorted(made) == ["i0", "i1", "i2", "i3"]
    for name, image in made.items():
        assert image.shape == expected[name].shape
        assert np.abs(image - expected[name]).max() <= 1


def test_a_quarantined_item_says_why_and_can_be_retried_alone(tmp_path: Path) -> None:
    job = upscaling(tmp_path)
    job.run()
    report = job.reports()[-1]
    entry = report.steps["made"]
    assert entry.outcome is Outcome.FAILED
    assert report.record.error_step == "made"
    for text in ("does not fit in the memory of CPU", "Make it smaller", "simulated: 9216 pixels where 5000 fit"):
        assert text in (report.record.error or "")
    assert entry.traceback is not None
    assert "small_device.py" in entry.traceback
    assert job.ledger.items.reset(JOB, states=[ItemState.QUARANTINED]) == 1


def test_another_process_does_not_fail_first(tmp_path: Path) -> None:
    upscaling(tmp_path).run()
    code = f"from tests.gpu_worker.device import small_job; small_job.print_tries_of_another_run({str(tmp_path)!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    impossible = [[1, NONE], [1, TILE], [1, OFFLOAD]]
    assert json.loads(done.stdout) == [[1, NONE], [1, TILE], [1, TILE], [1, OFFLOAD], *impossible]


def painting(folder: Path, source: Path, sides: tuple[int, ...], room: int | None) -> Mill:
    """`room` None: the ordinary engine."""
    step = WatchedGenerate(model="tested", from_image=True, steps=4, strength=0.5)
    engine, options = ("diffusers", {}) if room is None else ("small_diffusers", {"room": room})
    folder.mkdir(exist_ok=True)
    return small_job.mill(folder, step, "diffusion", engine, source, options, sides=sides)


def test_diffusion_halves_and_then_decodes_in_tiles(
    tmp_path: Path, diffusion_folder: Path, tried: list[BatchPlan]
) -> None:
    sides = (32, 32, 32, 32, 64, 64)
    job = painting(tmp_path / "small", diffusion_folder, sides, room=9000)
    job.run()
    assert tried == [
        BatchPlan(4),
        BatchPlan(2),
        BatchPlan(2),
        BatchPlan(2),
        BatchPlan(1),
        BatchPlan(1, TILE),
        BatchPlan(1, TILE),
    ]
    assert states(job) == [ItemState.DONE] * 6

    ample = painting(tmp_path / "ample", diffusion_folder, sides, room=None)
    ample.run()
    made, expected = pixels(job), pixels(ample)
    for name in ("i0", "i1", "i2", "i3"):
        assert np.abs(made[name] - expected[name]).max() <= 1  # another batch size: sums in another order
    for name in ("i4", "i5"):
        difference = np.abs(made[name] - expected[name])
        assert 0 < difference.mean() < 15  # each tile has a normalization of its own, and these networks' are wild


def test_diffusion_keeps_its_parts_off_the_device_when_tiles_are_not_enough(
    tmp_path: Path, diffusion_folder: Path, tried: list[BatchPlan]
) -> None:
    pytest.importorskip("accelerate")
    sides = (80, 112, 32)
    job = painting(tmp_path, diffusion_folder, sides, room=9000)
    job.run()
    ladder = [BatchPlan(1), BatchPlan(1, TILE), BatchPlan(1, OFFLOAD)]
    assert tried == [*ladder, *ladder, BatchPlan(1)]
    assert states(job) == [ItemState.DONE, ItemState.QUARANTINED, ItemState.DONE]


def test_without_room_for_anything_the_shard_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(UPSCALER_ROOM, "room", 1)
    monkeypatch.setitem(UPSCALER_ROOM, "host_room", 1)
    job = upscaling(tmp_path)
    job.run()
    assert states(job) == [ItemState.QUARANTINED] * len(SIDES)
    assert job.ledger.fleet.batch_sizes(job.runtime.device.name) == {}
