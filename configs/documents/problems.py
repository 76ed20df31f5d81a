"""All mistakes of an input at once, each with the file and line that a user must change."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from configs.reporting import PixelmillError

MAX_PROBLEMS = 500
_MAX_WORD = 200  # characters
_MAX_NAMES = 1_000  # that a misspelled one is compared with


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    `path` says where in the document it is, dotted with list positions (`items[3].seed`); `file` and `line` (from 1)
    say where in the file, when the input came from one.
    """

    path: str
    message: str
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class InvalidInput(PixelmillError):
    """The input was refused and nothing was written. Carries every problem found, not only the first.

    Of more than MAX_PROBLEMS it carries the first, and how many there are: nobody reads a million lines, and every one
    of them would be logged, stored and sent around.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        every = tuple(problems)
        if len(every) > MAX_PROBLEMS:
            more = len(every) - MAX_PROBLEMS
            every = (*every[:MAX_PROBLEMS], Problem("", f"and {more:,} more mistakes: mend these first"))
        self.problems: tuple[Problem, ...] = every
        super().__init__("\n".join(str(problem) for problem in self.problems))


def did_you_mean(word: str, known: Iterable[str], limit: int = 12) -> str:
    """`; did you mean `x`?` when a known name is close, else the known names (at most `limit`), else nothing."""
    names = sorted(set(known))
    compared = [name.casefold() for name in names[:_MAX_NAMES]]
    near = difflib.get_close_matches(word[:_MAX_WORD].casefold(), compared, n=1, cutoff=0.6)
    if near:
        match = next(name for name in names if name.casefold() == near[0])
        return f"; did you mean `{match}`?"
    if not names:
        return ""
    shown = ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
    return f"; known: {shown}"
