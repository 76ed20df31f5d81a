"""The base of every exception, when to try again what failed or ended, and the callback that reports either."""

import random
from collections.abc import Callable
from dataclasses import dataclass

Log = Callable[[str], None]  # takes one line for people


class PixelmillError(Exception):
    """Base class of every exception that Pixelmill raises on purpose."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """A bound and pauses for tries in a row that brought nothing; a try with progress starts the count again.

    The pause after the first such try is `first_seconds`; each further one doubles it, up to `longest_seconds`. With
    `most` tries in vain allowed, the next one is given up; None is without a bound.
    """

    first_seconds: float = 0.0
    longest_seconds: float = 0.0
    most: int | None = None

    def allows(self, vain: int) -> bool:
        """Return whether to try again after this many tries in vain."""
        return self.most is None or vain <= self.most

    def pause(self, vain: int) -> float:
        """Return the seconds to wait after this many tries in vain, from 1."""
        return min(self.longest_seconds, self.first_seconds * 2.0 ** min(vain - 1, 64))

    def jittered_pause(self, vain: int) -> float:
        """Return a random part of the pause, so that many clients of a server do not return at once."""
        return random.uniform(0, self.pause(vain))  # noqa: S311 - not a secret
