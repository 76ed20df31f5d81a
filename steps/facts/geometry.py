"""Facts about the frame."""

from collections.abc import Mapping

from steps.contract import Fact
from steps.facts.spec import FactMeasure, FactSpec
from steps.facts.view import View


def _frame(view: View) -> Mapping[str, Fact]:
    width, height = view.image.size
    return {"width": width, "height": height, "aspect": width / height}


MEASURES = (
    FactMeasure(
        (
            FactSpec("width", int, 1, None, "Pixels."),
            FactSpec("height", int, 1, None, "Pixels."),
            FactSpec("aspect", float, 0, None, "Width divided by height."),
        ),
        _frame,
    ),
)
