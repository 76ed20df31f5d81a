"""Reading ahead within bounds: small files that hold large images must not fill the worker's memory."""

from collections import Counter
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from configs.documents.fields import Item
from gpu_worker.shard import run_chunk, step_images
from gpu_worker.shard.stored_images import Inputs
from steps.contract import Frame, StepContext, StepResult
from steps.load import Load
from storage.images.images import UnreadableImage
from storage.objects.artefacts import StoreError
from storage.objects.folder_store import FolderStore
from tests.support.fake_steps import Invert
from tests.support.mill import Mill, resolved

SIDE = 32
PIXEL_BYTES = SIDE * SIDE * 3


def picture(color: str) -> bytes:
    file = BytesIO()
    Image.new("RGB", (SIDE, SIDE), color).save(file, "PNG")
    return file.getvalue()


class Files:
    """Files on disk, and how often each was read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read = folder, Counter[str]()

    def write(self, name: str, data: bytes) -> str:
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def __call__(self, location: str) -> bytes:
        self.read[Path(location).name] += 1
        return Path(location).read_bytes()


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture
def inputs(files: Files, tmp_path: Path) -> Iterator[Inputs]:
    """With room for one of the files."""
    room = len(picture("red")) + 10
    inputs = Inputs(FolderStore(tmp_path / "out"), files, max_pixels=SIDE * SIDE, max_held_bytes=room)
    yield inputs
    inputs.close()


def test_what_does_not_fit_is_read_again_when_it_is_used(files: Files, inputs: Inputs) -> None:
    red, blue = files.write("red.png", picture("red")), files.write("blue.png", picture("blue"))
    assert inputs.digest(red) != inputs.digest(blue)
    assert inputs.item_image(red).getpixel((0, 0)) == (255, 0, 0)
    assert inputs.item_image(blue).getpixel((0, 0)) == (0, 0, 255)
    assert files.read == {"red.png": 1, "blue.png": 2}


def test_what_is_released_makes_room(files: Files, inputs: Inputs) -> None:
    for color in ("red", "lime", "blue"):
        location = files.write(f"{color}.png", picture(color))
        inputs.digest(location)
        inputs.item_image(location)
        inputs.release(locations=[location])
    assert set(files.read.values()) == {1}


def test_a_file_that_was_changed_meanwhile_is_refused(files: Files, inputs: Inputs) -> None:
    """Its fingerprint was computed from what it was: the image must not be made from something else."""
    inputs.digest(files.write("red.png", picture("red")))
    blue = files.write("blue.png", picture("blue"))
    inputs.digest(blue)
    files.write("blue.png", picture("lime"))
    with pytest.raises(StoreError, match="changed while the job ran"):
        inputs.item_image(blue)


def test_more_pixels_than_allowed_are_refused(files: Files, tmp_path: Path) -> None:
    location = files.write("red.png", picture("red"))
    inputs = Inputs(FolderStore(tmp_path / "out"), files, max_pixels=SIDE * SIDE - 1)
    with pytest.raises(UnreadableImage, match="32 x 32 pixels, at most 1023"):
        inputs.item_image(location)
    inputs.close()


class WatchedInvert(Invert):
    """Notes how many images it is given at once."""

    def run(self, frames: Sequence[Frame], context: StepContext) -> list[StepResult]:
        GIVEN.append(len(frames))
        return super().run(frames, context)

    def batch_key(self, frame: Frame) -> str:
        return "all together"


GIVEN: list[int] = []


@pytest.mark.parametrize(("frame_bytes", "kept_bytes"), [(2**30, 2**30), (3 * PIXEL_BYTES, 2**30), (1, 0)])
def test_a_chunk_of_large_images_goes_through_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frame_bytes: int, kept_bytes: int
) -> None:
    monkeypatch.setattr(step_images, "MAX_FRAME_BYTES", frame_bytes)
    monkeypatch.setattr(run_chunk, "MAX_KEPT_BYTES", kept_bytes)
    GIVEN.clear()
    some = []
    for index in range(8):
        path = tmp_path / f"{index}.png"
        path.write_bytes(picture(f"#{index:02x}0000"))
        some.append(Item(index=index, name=f"i{index}", seed=index, image=str(path)))
    (tmp_path / "home").mkdir()
    mill = Mill(tmp_path, [resolved("photo", Load()), resolved("negative", WatchedInvert())], some, micro_batch=8)
    mill.run()
    finals = mill.finals()
    assert [Image.open(BytesIO(finals[f"job/final/i{index}.png"])).getpixel((0, 0)) for index in range(8)] == [
        (255 - index, 255, 255) for index in range(8)
    ]
    most = max(1, min(8, frame_bytes // PIXEL_BYTES))
    assert max(GIVEN) == most
    assert sum(GIVEN) == 8
