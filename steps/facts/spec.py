"""The definition of a fact: its name, its kind, its bounds and its description."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from steps.contract import Fact
from steps.facts.view import View

DIGITS = 6  # facts are stored and compared as text: no noise of the last bits

Kind = type[bool] | type[int] | type[float] | type[str]


@dataclass(frozen=True, slots=True)
class FactSpec:
    """A fact of the catalogue.

    `low` and `high` are bounds that every value keeps; None where there is none, or where the value is not a number.
    """

    name: str
    kind: Kind
    low: float | None
    high: float | None
    description: str
    always: bool = True  # cheap: measured on every image
    reads_source: bool = False  # needs the image that the step was given as well

    def value(self, measured: Fact) -> Fact:
        """Return the value as it is stored: of this kind, inside the bounds, a float rounded to DIGITS digits."""
        if self.kind in (bool, str):
            return self.kind(measured)
        number = float(measured) if self.kind is float else int(measured)
        if self.low is not None:
            number = max(self.low, number)
        if self.high is not None:
            number = min(self.high, number)
        return round(float(number), DIGITS) if self.kind is float else int(number)


@dataclass(frozen=True, slots=True)
class FactMeasure:
    """Facts that are found together, and the function that finds all of them."""

    specs: tuple[FactSpec, ...]
    take: Callable[[View], Mapping[str, Fact]]
