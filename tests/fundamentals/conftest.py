from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from configs.documents.fields import Item

MakePhotos = Callable[..., list[Item]]


@pytest.fixture
def photos(tmp_path: Path) -> MakePhotos:
    """Makes items named after colors, each with a photo of 32 × 16 pixels of that color as its input image."""

    def make(*colors: str, **variables: object) -> list[Item]:
        items = []
        for index, color in enumerate(colors):
            path = tmp_path / f"{color}.png"
            Image.new("RGB", (32, 16), color).save(path)
            items.append(Item(index=index, name=color, seed=index, image=str(path), vars=dict(variables)))
        return items

    return make
