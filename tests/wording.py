"""Counter of unidiomatic phrases in docstrings, comments, messages and documentation pages.

`python -m tests.wording` prints the rates of each folder; `python -m tests.wording flows/burst --list` prints each hit,
and `--messages` those in string literals as well. A rate is the number of hits per 1,000 words of docstrings and
comments, or of a page's prose.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import ROOT

CORE = ("configs", "storage", "steps", "gpu_worker", "flows")

PHRASES = {
    "person in code": r"who(?:m?ever)|nobody|somebody|anybody|everybody|he|him|his|himself",
    "thing that speaks": r"says?|said|saying|tells?|told|telling|hears?|heard|hearing|knows|knew|asks",
    "archaic": (
        r"anew|as of then|of then|of which|of whom|how-manieth|in the midst|thence|whence|"
        r"(?<!there )is no(?! longer| more| less| later)|(?<!there )(?:is|are) (?-i:none)"
    ),
    "fragment": r"\w+ (?-i:None):",  # "`redo` None: ..." instead of "or None if ..."
}
# A docstring that is glued to the function's name instead of standing by itself.
FRAGMENT = re.compile(r"(?:Of|In|With|By|As|Those|From|What|Whose|Which|Who)\b(?!-)")

_PATTERNS = {kind: re.compile(rf"(?<![\w-])(?:{words})(?![\w-])", re.IGNORECASE) for kind, words in PHRASES.items()}
_WORD = re.compile(r"[A-Za-z][\w'-]*")
_CODE = re.compile(r"``.+?``|`[^`]+`|https?://\S+")


@dataclass
class Tally:
    """Words read and phrases found, each with its place."""

    words: int = 0
    found: list[tuple[str, str, str]] = field(default_factory=list)  # kind, file:line, the line's text

    @property
    def rate(self) -> float:
        """Hits per 1,000 words."""
        return 1000 * len(self.found) / self.words if self.words else 0.0

    def read(self, text: str, place: str, line: int = 1) -> None:
        """Count the words and phrases of a text that starts at a line of a file."""
        for number, each in enumerate(text.splitlines(), line):
            self._read_line(each, f"{place}:{number}")

    def _read_line(self, text: str, where: str) -> None:
        prose = _CODE.sub("x", text)
        self.words += len(_WORD.findall(prose))
        spoken = text.replace("`", "")
        for kind, pattern in _PATTERNS.items():
            target = spoken if kind == "fragment" else prose
            self.found += [(kind, where, f"{match[0]!r}: {text.strip()}") for match in pattern.finditer(target)]

    def add(self, other: "Tally") -> None:
        """Take in what another tally has found."""
        self.words += other.words
        self.found += other.found


def count_python(path: Path) -> Tally:
    """Return the tally of a module's docstrings and comments."""
    source = path.read_text(encoding="utf-8")
    place = _place(path)
    tally = Tally()
    for node in _documented(ast.parse(source)):
        expression = node.body[0]
        assert isinstance(expression, ast.Expr) and isinstance(expression.value, ast.Constant)
        text = str(expression.value.value)
        tally.read(text, place, expression.lineno)
        if not isinstance(node, ast.Module) and FRAGMENT.match(text):
            tally.found.append(("fragment", f"{place}:{expression.lineno}", text.splitlines()[0]))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not token.string.startswith(("# type:", "# noqa")):
            tally.read(token.string, place, token.start[0])
    return tally


def count_messages(path: Path) -> Tally:
    """Return the tally of a module's string literals of several words that are not docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.body[0].value) for node in _documented(tree)}  # type: ignore[attr-defined]
    tally = Tally()
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if id(node) not in docstrings and " " in text.strip():
                tally.read(text, _place(path), node.lineno)
    return tally


def count_page(path: Path) -> Tally:
    """Return the tally of a Markdown page's prose, without code blocks and generated tables."""
    tally, inside = Tally(), False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```") or re.fullmatch(r"<!-- \w+: (begin|end).*-->", line):
            inside = not inside
        elif not inside:
            tally.read(line, _place(path), number)
    return tally


def files(folder: Path, suffix: str) -> list[Path]:
    """Return the files below a folder that have a suffix, or the one file that is named."""
    return [folder] if folder.is_file() else sorted(folder.rglob(f"*{suffix}"))


def _documented(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    documentable = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documentable) and ast.get_docstring(node, clean=False) is not None:
            yield node


def _place(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


def main(arguments: list[str]) -> None:
    """Print rates of folders or files; `--list` prints each hit, `--messages` those of messages too."""
    listed, messages = "--list" in arguments, "--messages" in arguments
    named = [each for each in arguments if not each.startswith("--")] or [*CORE, "docs", "README.md"]
    total = Tally()
    print(f"{'folder':<28}{'words':>8}{'hits':>6}{'per 1,000':>11}{'messages':>10}")
    for name in named:
        tally, spoken = Tally(), Tally()
        for path in files(ROOT / name, ".py"):
            if path.suffix == ".py":
                tally.add(count_python(path))
                spoken.add(count_messages(path))
        for path in files(ROOT / name, ".md"):
            if path.suffix == ".md":
                tally.add(count_page(path))
        total.add(tally)
        print(f"{name:<28}{tally.words:>8,}{len(tally.found):>6}{tally.rate:>11.2f}{len(spoken.found):>10}")
        for kind, where, text in (tally.found if listed else []) + (spoken.found if messages else []):
            print(f"    {where}: {kind}: {text}")
    if len(named) > 1:
        print(f"{'all':<28}{total.words:>8,}{len(total.found):>6}{total.rate:>11.2f}")


if __name__ == "__main__":
    main(sys.argv[1:])
