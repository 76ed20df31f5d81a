"""Images that mean harm are refused, whatever they are, without memory, time or other programs being spent on them."""

import json
import subprocess
import sys
import time

import pytest
from PIL import Image

from storage.images.images import READABLE, UnreadableImage, decode
from tests.storage.images.hostile_images import BOMBS, MANY_FRAMES, OTHER_KINDS

MAX_PIXELS = 64_000_000  # the setting's default

OPEN_ALL = f"""
import json, resource, time
from storage.images.images import decode
from storage.images.images import UnreadableImage
from tests.storage.images.hostile_images import BOMBS

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

files = {{name: make() for name, make in BOMBS.items()}}
told = {{}}
for name, data in files.items():
    before, start = peak(), time.process_time()
    try:
        outcome = str(decode(data, max_pixels={MAX_PIXELS}).size)
    except UnreadableImage as error:
        outcome = "refused: " + str(error)
    told[name] = outcome, len(data), peak() - before, time.process_time() - start
print(json.dumps(told))
"""


@pytest.mark.parts
def test_bombs_are_refused_for_little() -> None:
    done = subprocess.run([sys.executable, "-c", OPEN_ALL], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert told.keys() == BOMBS.keys()
    for name, (outcome, size, megabytes, seconds) in told.items():
        assert outcome.startswith("refused: "), name
        assert size < 1_200_000, name
        assert megabytes < 80, f"{name} took {megabytes} MB"
        assert seconds < 2, f"{name} took {seconds} s"


@pytest.mark.parametrize("name", MANY_FRAMES)
def test_only_the_first_frame_is_unpacked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = MANY_FRAMES[name]()
    start = time.process_time()
    try:
        assert decode(data, max_pixels=MAX_PIXELS).size in ((100, 100), (50, 50), (1, 1))
    except UnreadableImage:
        assert name == "endless_tiff"
    assert time.process_time() - start < 1


@pytest.mark.parametrize("name", OTHER_KINDS)
def test_other_kinds_are_not_opened(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def start_a_program(*arguments: object, **_: object) -> None:
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", start_a_program)
    with pytest.raises(UnreadableImage, match="no image in one of the formats"):
        decode(OTHER_KINDS[name], max_pixels=MAX_PIXELS)


def test_other_kinds_could_be_opened() -> None:
    """Else the test before would show nothing: Pillow has decoders for them, which are not offered."""
    from io import BytesIO

    openable = []
    for name, data in OTHER_KINDS.items():
        try:
            openable.append(Image.open(BytesIO(data)).format)
        except (OSError, ValueError):
            assert name not in ("eps", "ico", "ppm", "tga", "pcx")
    assert set(openable).isdisjoint(READABLE)
    assert {"EPS", "ICO", "PPM", "TGA", "PCX"} <= set(openable)
