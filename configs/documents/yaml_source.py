"""YAML as plain data in which every value knows its line.

Reads YAML 1.2 from parser events, so neither deep nesting nor aliases that multiply can exhaust the machine. Values
that YAML versions read differently (`no`, `012`, `2024-01-01`) are problems, not guesses.
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
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
    of the scalars among them: what `data` holds there is not worth a second complaint.
    """

    data: dict[str, Any]
    file: str
    lines: dict[str, int]
    problems: tuple[Problem, ...] = ()
    guessed: frozenset[str] = frozenset()

    def line(self, path: str) -> int:
        """Line (from 1) of the value at a dotted path, or of its nearest ancestor that is in the file."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.lines.get("", 1)

    def locate(self, problems: Iterable[Problem]) -> Iterator[Problem]:
        """The problems with this document's file and line, where they name no file yet; none of a guessed value."""
        for problem in problems:
            if problem.file is not None:
                yield problem
            elif problem.path not in self.guessed:
                yield Problem(problem.path, problem.message, self.file, self.line(problem.path))


def parse_yaml(data: bytes, file: str) -> Document:
    """The mapping that the file holds. Raises InvalidInput when it holds none, cannot be read or is too large."""
    if len(data) > MAX_BYTES:
        message = f"the file has {len(data):,} bytes, more than {MAX_BYTES:,}: put the items into a table"
        raise InvalidInput([Problem("", message, file)])
    text = _decode(data, file)
    builder = _DocumentBuilder(file)
    try:
        for event in YAML(typ="safe").parse(text):
            builder.take(event)
    except YAMLError as error:
        raise InvalidInput([*builder.problems, _syntax_problem(error, text, file)]) from None
    if not builder.documents:
        raise InvalidInput([Problem("", "the file is empty", file, 1)])
    root = builder.documents[0]
    if not isinstance(root, dict):
        # A text is not repeated: the file may be any file, with a password in its only line.
        message = f"must be fields (`name: …`), not {'a text' if isinstance(root, str) else describe(root)}"
        raise InvalidInput([*builder.problems, Problem("", message, file, builder.lines.get("", 1))])
    return Document(root, file, builder.lines, tuple(builder.problems), frozenset(builder.guessed))


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


@dataclass(slots=True)
class _OpenNode:
    """A list or mapping whose end has not been seen."""

    value: Any
    path: str
    anchor: str | None
    nodes: int  # before it, to know its size
    characters: int  # likewise
    key: str | None = None  # of the value to come
    skip: bool = False  # the value to come belongs to a refused key


@dataclass(slots=True)
class _DocumentBuilder:
    file: str
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    documents: list[Any] = field(default_factory=list)
    guessed: set[str] = field(default_factory=set)
    _stack: list[_OpenNode] = field(default_factory=list)
    _anchors: dict[str, tuple[Any, int, int]] = field(default_factory=dict)  # value, nodes, characters
    _nodes: int = 0
    _characters: int = 0
    _path_characters: int = 0

    def take(self, event: Any) -> None:
        handler = getattr(self, "_on_" + type(event).__name__, None)
        if handler is not None:
            handler(event)

    def _problem(self, path: str, message: str, event: Any) -> None:
        self.problems.append(Problem(path, message, self.file, event.start_mark.line + 1))

    def _fatal(self, path: str, message: str, event: Any) -> InvalidInput:
        self._problem(path, message, event)
        return InvalidInput(self.problems)

    def _count(self, nodes: int, characters: int, event: Any) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > MAX_NODES:
            raise self._fatal(
                "",
                f"more than {MAX_NODES:,} values (aliases count as often as they are used): put the items into a table",
                event,
            )
        if self._characters > MAX_CHARACTERS:
            message = f"more than {MAX_CHARACTERS:,} characters (aliases count as often as they are used)"
            raise self._fatal("", message, event)

    def _note_line(self, path: str, event: Any) -> None:
        self._path_characters += len(path)
        if self._path_characters > MAX_PATHS:
            raise self._fatal("", "too many values below long keys: put the items into a table", event)
        self.lines[path] = event.start_mark.line + 1

    def _place(self, event: Any) -> str:
        """Path of the node that begins here; notes its line."""
        if not self._stack:
            path = ""
        else:
            top = self._stack[-1]
            path = child(top.path, len(top.value) if isinstance(top.value, list) else top.key or "")
        if path not in self.lines:
            self._note_line(path, event)
        return path

    def _add(self, value: Any) -> None:
        if not self._stack:
            self.documents.append(value)
            return
        top = self._stack[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            return
        if not top.skip and top.key is not None:
            top.value[top.key] = value
        top.key, top.skip = None, False

    def _awaits_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].value, dict) and self._stack[-1].key is None

    def _take_key(self, event: Any) -> None:
        top, key = self._stack[-1], str(event.value)
        if len(key) > MAX_KEY:
            raise self._fatal(top.path, f"a key of more than {MAX_KEY:,} characters", event)
        path = child(top.path, key)
        top.key = key
        if key == "<<":
            self._problem(top.path, "merge keys (`<<`) are not supported: write the fields out", event)
            top.skip = True
        elif key in top.value:
            self._problem(path, f"`{key}` is written twice (first in line {self.lines[path]})", event)
            top.skip = True
        else:
            self._note_line(path, event)

    def _on_DocumentStartEvent(self, event: Any) -> None:
        if self.documents:
            raise self._fatal("", "a second document (`---`): one file holds one", event)

    def _on_ScalarEvent(self, event: Any) -> None:
        characters = len(event.value)
        self._count(1, characters, event)
        if self._awaits_key():
            self._take_key(event)
            return
        path = self._place(event)
        value = self._scalar(event, path)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1, characters)
        self._add(value)

    def _on_AliasEvent(self, event: Any) -> None:
        if self._awaits_key():
            raise self._fatal(self._stack[-1].path, f"an alias (`*{event.anchor}`) cannot be a key", event)
        path = self._place(event)
        if event.anchor not in self._anchors:
            raise self._fatal(path, f"`*{event.anchor}` names no anchor that ends before it", event)
        value, nodes, characters = self._anchors[event.anchor]
        self._count(nodes, characters, event)
        self._add(value)

    def _open(self, event: Any, value: Any, plain_tag: str) -> None:
        self._count(1, 0, event)
        if self._awaits_key():
            raise self._fatal(self._stack[-1].path, "a key must be a word, not a list or fields", event)
        path = self._place(event)
        tag = _tag(event)
        if tag not in (None, "!", _TAG + plain_tag):
            self._problem(path, f"the tag `{tag}` is not supported", event)
        if len(self._stack) >= MAX_DEPTH:
            raise self._fatal(path, f"nested deeper than {MAX_DEPTH} levels", event)
        self._stack.append(_OpenNode(value, path, event.anchor, self._nodes - 1, self._characters))

    def _on_MappingStartEvent(self, event: Any) -> None:
        self._open(event, {}, "map")

    def _on_SequenceStartEvent(self, event: Any) -> None:
        self._open(event, [], "seq")

    def _close(self, _event: Any) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = (done.value, self._nodes - done.nodes, self._characters - done.characters)
        self._add(done.value)

    _on_MappingEndEvent = _close
    _on_SequenceEndEvent = _close

    def _scalar(self, event: Any, path: str) -> Any:
        text: str = event.value
        if any("\ud800" <= character <= "\udfff" for character in text):
            self._problem(path, "half a character (a lone surrogate escape): write the character itself", event)
            return text.encode("utf-8", "replace").decode()
        tag = _tag(event)
        if tag in (_TAG + "str", "!") or (tag is None and not event.implicit[0]):
            return text
        if tag is not None and tag not in (_TAG + kind for kind in ("int", "float", "bool", "null")):
            self._problem(path, f"the tag `{tag}` is not supported", event)
            return text
        value, complaint = _resolve(text)
        if complaint:
            self._problem(path, complaint, event)
            self.guessed.add(path)
        return value


def _tag(event: Any) -> str | None:
    tag = event.tag
    return None if tag is None else str(tag)


def _resolve(text: str) -> tuple[Any, str | None]:
    """Value of an unquoted scalar, and what is wrong with it."""
    if text in _NULLS:
        return None, None
    if text in _BOOLS:
        return _BOOLS[text], None
    if text.lower() in _OLD_BOOLS:
        value = _OLD_BOOLS[text.lower()]
        return value, f"`{text}` can mean a word or {str(value).lower()}: write {str(value).lower()}, or quote the word"
    first = text[0]
    if first not in "+-.0123456789":
        return text, None
    return _resolve_number(text)


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
