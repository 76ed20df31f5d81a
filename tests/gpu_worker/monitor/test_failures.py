"""Why an item failed, in words for its owner."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from gpu_worker.monitor.failures import describe, explain
from storage.images.images import UnreadableImage


def raised(action: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:
        action()
    return caught.value


def refuse() -> None:
    raise ValueError("leave `x` out")


def fail_as_pixelmill() -> None:
    raise UnreadableImage("The image is damaged.")


def test_the_library_that_failed_is_named_with_the_image_and_what_can_be_changed() -> None:
    message = explain(raised(lambda: Image.open(BytesIO(b""))), "this image of 1 x 1 pixels")
    assert message.startswith("the step cannot work with this image of 1 x 1 pixels (in PIL): UnidentifiedImageError")
    assert "other parameters" in message


def test_what_a_compiled_function_raises_is_no_message_of_the_step() -> None:
    message = explain(raised(lambda: np.zeros(0).min()), "this image of 0 x 0 pixels")
    assert message.startswith("the step cannot work with this image of 0 x 0 pixels")
    assert "zero-size array" in message


def test_what_a_step_raises_itself_stays_as_it_is() -> None:
    assert explain(raised(refuse), "this image") == "ValueError: leave `x` out"


def test_pixelmills_own_errors_come_without_the_name_of_their_class() -> None:
    error = raised(fail_as_pixelmill)
    assert explain(error, "this image") == describe(error) == "The image is damaged."
