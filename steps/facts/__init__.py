"""Facts: what is measured on every step's output, for conditions and gates to read."""

from steps.facts.catalogue import ALWAYS, FACTS, IMAGE_FACTS, measure
from steps.facts.spec import FactSpec

__all__ = ["ALWAYS", "FACTS", "IMAGE_FACTS", "FactSpec", "measure"]
