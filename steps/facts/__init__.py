"""Facts: what is measured on every step's output, for conditions and gates to read."""

from collections.abc import Collection, Mapping

from PIL import Image

from configs.documents.problems import did_you_mean
from steps.contract import Fact
from steps.facts import colors, comparison, flaws, likeness, shape
from steps.facts.view import FactSpec, Measures, View

__all__ = ["ALWAYS", "FACTS", "IMAGE_FACTS", "FactSpec", "measure"]

_MEASURES: Measures = {
    take: specs for subject in (shape, colors, flaws, likeness, comparison) for take, specs in subject.MEASURES.items()
}

FACTS: Mapping[str, FactSpec] = {spec.name: spec for specs in _MEASURES.values() for spec in specs}
ALWAYS: frozenset[str] = frozenset(name for name, spec in FACTS.items() if spec.always)
IMAGE_FACTS: Mapping[str, str] = {name: spec.description for name, spec in FACTS.items() if spec.always}


def measure(
    image: Image.Image, names: Collection[str] = ALWAYS, *, source: Image.Image | None = None
) -> dict[str, Fact]:
    """Return the facts of these names about an RGB or RGBA image, in the catalogue's order.

    `source` is the image that the step was given; without one, facts that read it are left out. The same pixels give
    the same facts on every machine, and every value lies inside its bounds. What lies under wholly transparent pixels
    counts for none of them. Raises LookupError for a name that the catalogue does not have.
    """
    unknown = sorted(set(names) - FACTS.keys())
    if unknown:
        raise LookupError(f"unknown fact `{unknown[0]}`{did_you_mean(unknown[0], FACTS)}")
    view = View(image, source)
    facts: dict[str, Fact] = {}
    for take, specs in _MEASURES.items():
        wanted = [spec for spec in specs if spec.name in names and (source is not None or not spec.reads_source)]
        if wanted:
            found = take(view)
            facts |= {spec.name: spec.value(found[spec.name]) for spec in wanted}
    return facts
