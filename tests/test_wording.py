"""Docstrings, comments and pages avoid the phrases that `tests.wording` counts."""

import ast
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.wording import CORE, Tally, count_messages, count_page, count_python, files

BAR = 0.3  # phrases per 1,000 words
PAGES = ("docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "starter/README.md")


def hits(tally: Tally) -> list[str]:
    return [f"{where}: {kind}: {text}" for kind, where, text in tally.found]


def tally_of(text: str, tmp_path: Path) -> Tally:
    path = tmp_path / "example.py"
    path.write_text(text)
    ast.parse(text)
    return count_python(path)


def test_pages_keep_the_bar():
    tally = Tally()
    for name in PAGES:
        for path in files(ROOT / name, ".md"):
            tally.add(count_page(path))
    assert tally.rate < BAR, "\n".join(hits(tally))


@pytest.mark.parts
def test_the_core_keeps_the_bar():
    tally = Tally()
    for layer in CORE:
        for path in files(ROOT / layer, ".py"):
            tally.add(count_python(path))
    assert tally.rate < BAR, "\n".join(hits(tally))


@pytest.mark.parts
@pytest.mark.parametrize("folder", ["benchmarks", "starter", "docker"])
def test_code_beside_the_core_keeps_the_bar(folder):
    tally = Tally()
    for path in files(ROOT / folder, ".py"):
        tally.add(count_python(path))
        tally.add(count_messages(path))
    assert tally.rate < BAR, "\n".join(hits(tally))


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ('"""Return the number of whoever asks."""', ["person in code", "thing that speaks"]),
        ("x = 1  # the ledger says so, as of then", ["archaic", "thing that speaks"]),
        ("x = 1  # this is no image", ["archaic"]),
        ("x = 1  # there is no image, and it is no longer there", []),
        ('def f():\n    """Of those in scope. `redo` None: nothing is repeated."""', ["fragment", "fragment"]),
        ('def f():\n    """Return one of them, or None if `x` is empty."""', []),
        ('x = "nobody knows"', []),
    ],
)
def test_phrases_are_found(text, kinds, tmp_path):
    assert sorted(kind for kind, _, _ in tally_of(text, tmp_path).found) == kinds


def test_a_rate_counts_words_outside_of_code(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "One two `nobody` three\n```\nnobody\n```\n<!-- x: begin -->\nnobody\n<!-- x: end -->\nand nobody\n"
    )
    tally = count_page(page)
    assert (tally.words, len(tally.found)) == (6, 1)
