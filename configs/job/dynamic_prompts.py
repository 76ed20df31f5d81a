"""Dynamic prompts: `{red|blue}` becomes one of its options and `__colors__` a line of a list, by the item's seed.

The language is that of the extension of this name for Stable Diffusion's web UI, without its variables. Prompts and
lists may be those of untrusted users: depth, choices and length are bounded.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import accumulate
from random import Random
from typing import NamedTuple

from configs.documents.fields import MAX_TEXT
from configs.documents.problems import did_you_mean
from configs.job.file_sets import FileSet, ListFiles, glob_matcher
from configs.settings.access import Access

MAX_DEPTH = 20  # of choices within choices, and of lists that name lists
MAX_CHOICES = 1_000  # in one prompt
MAX_LIST = 10_000_000  # characters of a file
_TRIES = 100  # to draw an option that is not taken
SUFFIX = ".txt"  # of a list
_TOKEN = re.compile(r"\\(?P<escaped>[{}|_])|(?P<mark>[{}|])|__(?P<name>[^\s{}|_](?:[^\s{}|]*?[^\s{}|_])??)__")
_HEAD = re.compile(
    r"\s*~?\s*(?:(?P<least>[0-9]{1,3})?(?P<to>-)?(?P<most>[0-9]{1,3})?\$\$(?:(?P<between>[^${}]*)\$\$)?)?"
)
_WEIGHT = re.compile(r"\s*([0-9]{1,6}(?:\.[0-9]{1,6})?|\.[0-9]{1,6})::")
_OPEN = "has a `{` without its `}` (write \\{ and \\} for braces)"


class WordList(NamedTuple):
    """A line of the list of this name."""

    name: str


class PromptChoice(NamedTuple):
    """Between `least` and `most` of the options, each at most once. `sums` are the sums of their weights up to each."""

    options: "tuple[Parts, ...]"
    sums: tuple[float, ...]
    least: int = 1
    most: int = 1
    between: str = ", "


Parts = tuple["str | WordList | PromptChoice", ...]
ListOf = Callable[[str], PromptChoice]  # by the name of a list; raises ValueError
Expand = Callable[[str, int, str], str]  # of a prompt, a seed and the field's name; raises ValueError


@lru_cache(maxsize=1024)
def parse_prompt(text: str) -> Parts:
    """Return the literal texts, choices and lists of a prompt. Raises ValueError that names what to change."""
    return _sequence(text, 0, 0)[0]


def _sequence(text: str, at: int, depth: int) -> tuple[Parts, int]:
    """Read up to the end, or within a choice to the `|` or `}` behind an option. Returns where that is."""
    parts: list[str | WordList | PromptChoice] = []
    while (token := _TOKEN.search(text, at)) is not None:
        parts.append(text[at : token.start()])
        at = token.end()
        if token["escaped"]:
            parts.append(token["escaped"])
        elif token["name"]:
            parts.append(WordList(token["name"]))
        elif token["mark"] == "{":
            if text[token.start() - 1 : token.start()] in ("$", "%"):
                raise ValueError(f"holds `{text[token.start() - 1 : at]}…}}`, which is not supported: write it out")
            choice, at = _choice(text, at, depth + 1)
            parts.append(choice)
        elif depth:
            return tuple(parts), token.start()
        elif token["mark"] == "}":
            raise ValueError("has a `}` without its `{` (write \\{ and \\} for braces)")
        else:
            parts.append("|")
    if depth:
        raise ValueError(_OPEN)
    return (*parts, text[at:]), len(text)


def _choice(text: str, at: int, depth: int) -> tuple[PromptChoice, int]:
    if depth > MAX_DEPTH:
        raise ValueError(f"has braces within braces, more than {MAX_DEPTH} deep")
    if text[at : at + 1] in ("@", "!"):
        raise ValueError(f"holds `{{{text[at]}…}}`, which is not supported: a `matrix` makes all combinations")
    head = _HEAD.match(text, at)
    assert head is not None  # everything in it is optional
    at, options, weights = head.end(), list[Parts](), list[float]()
    while not options or text[at - 1] != "}":
        weight, at = _weight(text, at)
        parts, at = _sequence(text, at, depth)
        options.append(parts)
        weights.append(weight)
        at += 1
    least = int(head["least"]) if head["least"] else 1
    most = int(head["most"]) if head["most"] else len(options) if head["to"] else least
    return PromptChoice(
        tuple(options), tuple(accumulate(weights)), least, max(least, most), head["between"] or ", "
    ), at


def _weight(text: str, at: int) -> tuple[float, int]:
    """Return the weight of the option that begins there, and where its text does."""
    written = _WEIGHT.match(text, at)
    return (float(written[1]), written.end()) if written is not None else (1.0, at)


def expand_prompt(text: str, seed: int, field: str, list_of: ListOf) -> str:
    """Return a prompt with all choices made: the same for the same text, seed and name of the field.

    Raises ValueError that names what to change in the prompt, or in the lists.
    """
    parts = parse_prompt(text)
    digest = hashlib.sha256(f"{seed}\0{field}".encode()).digest()
    drawn = _Draw(Random(int.from_bytes(digest)), list_of).text(parts, 0)  # noqa: S311
    return re.sub(r"[ \t]{2,}", " ", drawn).strip() if len(parts) > 1 else drawn


@dataclass(slots=True)
class _Draw:
    """The choices of one prompt. Only `random()` is used, whose numbers stay the same in all versions of Python."""

    random: Random
    list_of: ListOf
    made: int = field(default=0)

    def text(self, parts: Parts, depth: int) -> str:
        pieces, length = list[str](), 0
        for part in parts:
            pieces.append(part if isinstance(part, str) else self._chosen(part, depth))
            length += len(pieces[-1])
            if length > MAX_TEXT:
                raise ValueError(f"becomes longer than {MAX_TEXT:,} characters")
        return "".join(pieces)

    def _chosen(self, part: WordList | PromptChoice, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise ValueError(f"takes lists that name lists, more than {MAX_DEPTH} deep: one may name itself")
        choice = part if isinstance(part, PromptChoice) else self.list_of(part.name)
        named = [each for each in choice.options[0] if each] if len(choice.options) == 1 else []
        if choice.most > 1 and len(named) == 1 and isinstance(named[0], WordList):  # lines of one list: {2$$__colors__}
            choice = choice._replace(**{key: getattr(self.list_of(named[0].name), key) for key in ("options", "sums")})
        count = choice.least + int(self.random.random() * (choice.most - choice.least + 1))
        taken: dict[int, None] = {}  # in order
        while len(taken) < min(count, len(choice.options)):
            self.made += 1
            if self.made > MAX_CHOICES:
                raise ValueError(f"takes more than {MAX_CHOICES:,} choices")
            taken[self._pick(choice.sums, taken)] = None
        texts = (self.text(choice.options[index], depth + 1).strip() for index in taken)
        return choice.between.join(filter(None, texts))

    def _pick(self, sums: Sequence[float], taken: Collection[int]) -> int:
        """Return the index of an option that is not taken."""
        for _ in range(_TRIES):
            found = bisect_right(sums, self.random.random() * sums[-1])
            if found < len(sums) and found not in taken:
                return found
        return next(index for index in range(len(sums)) if index not in taken)  # the others weigh next to nothing


class WordLists:
    """The lists of a folder: `colors.txt` is `__colors__`, `light/soft.txt` is `__light/soft__`; a line an entry."""

    def __init__(self, found: FileSet, read_bytes: Callable[[str], bytes]) -> None:
        self._found, self._read = found, read_bytes
        self._paths = {path.removesuffix(SUFFIX): path for path in found.paths if path.endswith(SUFFIX)}
        self._known: dict[str, PromptChoice] = {}

    def __call__(self, name: str) -> PromptChoice:
        """Return a choice of the lines of a list, or of all that a name with `*` matches. Raises ValueError."""
        if name not in self._known:
            matches = glob_matcher(name)
            paths = [path for stem, path in self._paths.items() if matches(stem)]
            if not paths:
                hint = did_you_mean(name, self._paths)
                raise ValueError(f"names the list `__{name}__`, which is not in {self._found.base}{hint}")
            self._known[name] = self._choice_of(name, [line for path in paths for line in self._lines(path)])
        return self._known[name]

    def _choice_of(self, name: str, lines: Sequence[str]) -> PromptChoice:
        if not lines:
            raise ValueError(f"names the list `__{name}__`, which has no lines")
        weights = [_weight(line, 0) for line in lines]
        try:
            options = tuple(parse_prompt(line[at:]) for line, (_, at) in zip(lines, weights, strict=True))
        except ValueError as error:
            raise ValueError(f"names the list `__{name}__`, a line of which {error}") from None
        return PromptChoice(options, tuple(accumulate(weight for weight, _ in weights)))

    def _lines(self, path: str) -> Iterable[str]:
        try:
            text = self._read(self._found.uri(path)).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = str(error) if isinstance(error, OSError) else "it is not UTF-8"
            raise ValueError(f"names the list {path}, which cannot be read: {reason}") from None
        if len(text) > MAX_LIST:
            raise ValueError(f"names the list {path}, which has more than {MAX_LIST:,} characters: shorten it")
        return (line for each in text.splitlines() if (line := each.strip()) and not line.startswith("#"))


def as_written(prompt: str, _seed: int, _field: str) -> str:
    """Return the prompt, in which braces mean nothing."""
    return prompt


def _only_checked(prompt: str, _seed: int, _field: str) -> str:
    """Return the prompt where lists are missing; raises ValueError for what is wrong with it without them."""
    parse_prompt(prompt)
    return prompt


def expander(
    folder: str | None, access: Access, list_files: ListFiles, read_bytes: Callable[[str], bytes]
) -> tuple[Expand, str | None]:
    """Return what makes the choices of prompts, by the lists of a folder, and what is wrong with that, if anything."""
    if folder is None:
        return partial(expand_prompt, list_of=_no_lists), None
    try:
        objection = access.objection_to_reading(folder)
        if objection is None:
            return partial(expand_prompt, list_of=WordLists(list_files(folder, "**/*"), read_bytes)), None
    except OSError as error:
        objection = f"cannot be read: {error}"
    return _only_checked, objection


def _no_lists(name: str) -> PromptChoice:
    raise ValueError(f"names the list `__{name}__`: give the job `wildcards`, the folder of {name}{SUFFIX}")
