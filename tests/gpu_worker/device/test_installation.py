"""What an image says of the process that made it."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpu_worker.device import device as computing
from gpu_worker.device.device import DEVICE, PLATFORM, Device, made_with
from storage.images.images import read_recipe
from tests.support.finished_images import TRANSFORMS, finished, photo


def test_versions_are_named_and_the_device_only_where_there_is_one() -> None:
    versions = made_with(None)
    assert {"pixelmill", "pillow", "numpy", PLATFORM} <= versions.keys()
    assert DEVICE not in versions
    gpu = Device("cuda", "NVIDIA H100", 81_000)
    assert made_with(gpu) == {**versions, DEVICE: "NVIDIA H100"}


def test_cores_of_a_cpu_do_not_count() -> None:
    few, many = (Device("cpu", f"CPU, {cores} cores", 1) for cores in (2, 64))
    assert made_with(few) == made_with(many)
    assert "cores" not in made_with(few)[DEVICE]


@pytest.mark.parts
def test_asking_imports_nothing() -> None:
    code = "import sys; from gpu_worker.device.device import made_with; made_with(None); "
    code += "print([name for name in ('torch', 'numpy', 'PIL', 'diffusers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_worker_says_it_in_its_images(tmp_path: Path) -> None:
    recipe = read_recipe(finished(tmp_path, TRANSFORMS, image=str(photo(tmp_path))).read_bytes())
    assert recipe is not None
    assert recipe.made_with == made_with(None)


def test_equal_processes_write_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (
        finished(tmp_path / name, TRANSFORMS, image=str(photo(tmp_path))).read_bytes() for name in ("one", "two")
    )
    assert one == two


def test_the_first_image_of_a_fingerprint_stands_whatever_the_second_was_made_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finished(tmp_path, TRANSFORMS, image=str(photo(tmp_path))).read_bytes()
    for file in (tmp_path / "home").glob("ledger.db*"):
        file.unlink()  # so that everything is computed again
    monkeypatch.setattr(computing, "_versions", lambda: {"pillow": "99.0"})
    assert finished(tmp_path, TRANSFORMS, image=str(photo(tmp_path))).read_bytes() == first
