"""YAML as plain data, with the line of every value.

Reads YAML 1.2 from parser events, so neither deep nesting nor aliases that multiply can exhaust the machine. Values
that YAML versions read differently (`no`, `012`, `2024-01-01`) are problems, not guesses.
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, events
from ruamel.yaml.error import YAMLError

from configs.documents.problems import InvalidInput, Problem, child, describe

MAX_BYTES = 128_000_000
MAX_NODES = 1_000_000  # values in a document, aliases counted as often as they are used
MAX_CHARACTERS = 64_000_000  # of all texts and keys, aliases counted likewise
MAX_PATHS = 256_000_000  # characters of all paths: a long key stands in the path of everything below it
MAX_KEY = 256  # characters
MAX_DEPTH = 32
_MAX_DIGITS = 100
_MAX_NUMBER = 400  # characters of what may be a number or a date: no float is written longer

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_OLD_BOOLS = {"yes": True, "on": True, "no": False, "off": False}  # YAML 1.1
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_UNDERSCORED = re.compile(r"[-+]?[0-9][0-9_]*_[0-9_]*(\.[0-9_]*)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping read from YAML: dicts, lists, text, numbers, booleans and None.

    `problems` are mistakes that left the rest readable (duplicate keys, ambiguous scalars). `guessed` are the paths
    of the scalars among them: a second problem about them would only confuse.
    """

    data: dict[str, Any]
    file: str
    lines: dict[str, int]
    problems: tuple[Problem, ...] = ()
    guessed: frozenset[str] = frozenset()

    def line(self, path: str) -> int:
        """Return the line (from 1) of the value at a dotted path, or of its nearest ancestor that is in the file."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get("", 1)

    def locate(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """Yield the problems with this document's file and line, without those of guessed values.

        A problem that names a file already stays as it is.
        """
        for problem in problems:
            if problem.file is not None:
                yield problem
            elif problem.path not in self.guessed:
                yield Problem(problem.path, problem.message, self.file, self.line(problem.path))


def parse_yaml(data: bytes, file: str) -> Document:
    """Return the mapping in the file. Raises InvalidInput when there is none, or it cannot be read or is too large."""
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes, more than {MAX_BYTES:,}: put the items into a table"
        raise InvalidInput([Problem("", message, file)])
    text = _decode(data, file)
    reader = _Reader(text, file)
    try:
        root = reader.read()
    except YAMLError as error:
        raise InvalidInput([*reader.problems, _syntax_problem(error, text, file)]) from None
    if not isinstance(root, dict):
        # A text is not repeated: the file may be any file, with a password in its only line.
        message = f"must be fields (`name: …`), not {'a text' if isinstance(root, str) else describe(root)}"
        raise InvalidInput([*reader.problems, Problem("", message, file, reader.lines.get("", 1))])
    return Document(root, file, reader.lines, tuple(reader.problems), frozenset(reader.guessed))


def read_yaml(path: Path) -> Document:
    """Parse a file. Raises InvalidInput like `parse_yaml`, and when the file cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInput([Problem("", f"cannot be read: {error.strerror}", str(path))]) from None
    return parse_yaml(data, str(path))


def _decode(data: bytes, file: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        message = f"not UTF-8 (byte 0x{data[error.start]:02x}): save the file as UTF-8"
        raise InvalidInput([Problem("", message, file, line)]) from None


def _syntax_problem(error: YAMLError, text: str, file: str) -> Problem:
    position = getattr(error, "position", None)
    if position is not None:  # a ReaderError: a character that YAML does not allow
        line = text[:position].count("\n") + 1
        return Problem("", 'control character: write it as an escape in double quotes ("\\x07")', file, line)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    lines = text.splitlines()
    line = min(mark.line + 1, max(len(lines), 1)) if mark else 1
    indent = re.match(r"\s*", lines[line - 1] if lines else "")
    if indent and "\t" in indent.group():
        return Problem("", "tab in the indentation: YAML indents with spaces", file, line)
    reasons = [str(part) for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part]
    return Problem("", "not valid YAML: " + (", ".join(reasons) or "cannot be parsed"), file, line)


class _Reader:
    """Builds plain data from parser events, with the line of every path."""

    def __init__(self, text: str, file: str) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self.guessed: set[str] = set()
        self._file = file
        self._events: Iterator[events.Event] = YAML(typ="safe").parse(text)
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, nodes, characters
        self._nodes = self._characters = self._path_characters = 0

    def read(self) -> Any:
        """Return the only document of the text."""
        documents: list[Any] = []
        for event in self._events:
            if isinstance(event, events.DocumentStartEvent) and documents:
                raise self._fatal("", "a second document (`---`): one file holds one", event)
            if isinstance(event, events.NodeEvent):
                documents.append(self._node("", event, 0))
        if not documents:
            raise InvalidInput([Problem("", "the file is empty", self._file, 1)])
        return documents[0]

    def _node(self, path: str, event: Any, depth: int) -> Any:
        before = self._nodes, self._characters
        if isinstance(event, events.AliasEvent):
            self._note_line(path, event)
            if event.anchor not in self._anchors:
                raise self._fatal(path, f"`*{event.anchor}` names no anchor that ends before it", event)
            value, nodes, characters = self._anchors[event.anchor]
            self._count(nodes, characters, event)
            return value
        if isinstance(event, events.ScalarEvent):
            self._count(1, len(event.value), event)
            self._note_line(path, event)
            value = self._scalar(event, path)
        else:
            self._count(1, 0, event)
            self._note_line(path, event)
            value = self._collection(path, event, depth)
        if event.anchor:
            self._anchors[event.anchor] = (value, self._nodes - before[0], self._characters - before[1])
        return value

    def _collection(self, path: str, event: Any, depth: int) -> Any:
        is_list = isinstance(event, events.SequenceStartEvent)
        tag = _tag(event)
        if tag not in (None, "!", _TAG + ("seq" if is_list else "map")):
            self._report(path, f"the tag `{tag}` is not supported", event)
        if depth >= MAX_DEPTH:
            raise self._fatal(path, f"nested deeper than {MAX_DEPTH} levels", event)
        if not is_list:
            return self._mapping(path, depth + 1)
        values: list[Any] = []
        while not isinstance(event := next(self._events), events.SequenceEndEvent):
            values.append(self._node(child(path, len(values)), event, depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), events.MappingEndEvent):
            key = self._key(path, event)
            is_usable = self._is_usable(key, path, values, event)
            value = self._node(child(path, key), next(self._events), depth)
            if is_usable:
                values[key] = value
        return values

    def _key(self, path: str, event: Any) -> str:
        if isinstance(event, events.AliasEvent):
            raise self._fatal(path, f"an alias (`*{event.anchor}`) cannot be a key", event)
        if not isinstance(event, events.ScalarEvent):
            raise self._fatal(path, "a key must be a word, not a list or fields", event)
        key = str(event.value)
        self._count(1, len(key), event)
        if len(key) > MAX_KEY:
            raise self._fatal(path, f"a key of more than {MAX_KEY:,} characters", event)
        return key

    def _is_usable(self, key: str, parent: str, taken: Collection[str], event: Any) -> bool:
        path = child(parent, key)
        if key == "<<":
            self._report(parent, "merge keys (`<<`) are not supported: write the fields out", event)
        elif key in taken:
            self._report(path, f"`{key}` is written twice (first in line {self.lines[path]})", event)
        else:
            self._note_line(path, event)
            return True
        return False

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._report(path, "half a character (a lone surrogate escape): write the character itself", event)
            return text.encode("utf-8", "replace").decode()
        tag = _tag(event)
        if tag in (_TAG + "str", "!") or (tag is None and not event.implicit[0]):
            return text
        if tag is not None and tag not in (_TAG + kind for kind in ("int", "float", "bool", "null")):
            self._report(path, f"the tag `{tag}` is not supported", event)
            return text
        value, problem = _resolve(text)
        if problem:
            self._report(path, problem, event)
            self.guessed.add(path)
        return value

    def _note_line(self, path: str, event: Any) -> None:
        """Record the first line of a path: for a field, that of its key."""
        if path in self.lines:
            return
        self._path_characters += len(path)
        if self._path_characters > MAX_PATHS:
            raise self._fatal("", "too many values below long keys: put the items into a table", event)
        self.lines[path] = event.start_mark.line + 1

    def _count(self, nodes: int, characters: int, event: Any) -> None:
        self._nodes += nodes
        self._characters += characters
        aliases = "(aliases count as often as they are used)"
        if self._nodes > MAX_NODES:
            raise self._fatal("", f"more than {MAX_NODES:,} values {aliases}: put the items into a table", event)
        if self._characters > MAX_CHARACTERS:
            raise self._fatal("", f"more than {MAX_CHARACTERS:,} characters {aliases}", event)

    def _report(self, path: str, message: str, event: Any) -> None:
        self.problems.append(Problem(path, message, self._file, event.start_mark.line + 1))

    def _fatal(self, path: str, message: str, event: Any) -> InvalidInput:
        self._report(path, message, event)
        return InvalidInput(self.problems)


def _tag(event: Any) -> str | None:
    return None if event.tag is None else str(event.tag)


def _resolve(text: str) -> tuple[Any, str | None]:
    """Return the value of an unquoted scalar, and what is wrong with it, if anything."""
    if text in _NULLS:
        return None, None
    if text in _BOOLS:
        return _BOOLS[text], None
    if text.lower() in _OLD_BOOLS:
        value = _OLD_BOOLS[text.lower()]
        return value, f"`{text}` can mean a word or {str(value).lower()}: write {str(value).lower()}, or quote the word"
    return _resolve_number(text) if text[0] in "+-.0123456789" else (text, None)


def _resolve_number(text: str) -> tuple[Any, str | None]:
    if len(text) > _MAX_NUMBER and not _INT.fullmatch(text):
        return text, None  # the patterns below take their time over long texts
    if _DATE.fullmatch(text):
        return text, f"`{text}` looks like a date: put it in quotes"
    if _NOT_FINITE.fullmatch(text):
        return 0.0, f"`{text}` is not a finite number"
    if _UNDERSCORED.fullmatch(text):
        return text, f"`{text}` can mean a number or a text: leave the underscores out, or quote it"
    if _INT.fullmatch(text) or _FLOAT.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            return 0, f"a number of more than {_MAX_DIGITS} digits"
        if _LEADING_ZERO.fullmatch(text):
            return int(text), f"`{text}` has leading zeros: drop them, or quote it to keep them"
        if _INT.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text), None
        number = float(text)
        return (number, None) if math.isfinite(number) else (0.0, f"`{text}` is not a finite number")
    return text, None
