from pathlib import Path

import pytest

from tests.support.finished_images import TRANSFORMS, finished, photo


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A finished image that was made of a photo by transforms alone."""
    return finished(tmp_path, TRANSFORMS, image=str(photo(tmp_path)))
