"""Texts of strangers inside Markdown, read back by a real Markdown parser."""

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.report.render import escape_markdown, markdown_table
from tests.support.hostile_texts import HOSTILE, shown

_markdown = MarkdownIt("js-default")  # GitHub's dialect: tables and strike-through; HTML passes, as in Prefect's UI
_markdown.options["html"] = True


class _Reader(HTMLParser):
    """The elements of a page, and the text of each table cell or paragraph."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("p", "td", "th"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if self.texts and data.strip("\n"):
            self.texts[-1] += data


def read(source: str) -> _Reader:
    reader = _Reader()
    reader.feed(_markdown.render(source))
    reader.close()
    return reader


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_shown_as_it_is_written(text: str) -> None:
    page = read(escape_markdown(text))
    assert page.tags == ["p"]
    assert [each.replace("\u2060", "") for each in page.texts] == [shown(text)]


@pytest.mark.parametrize("text", HOSTILE)
def test_cell_shows_its_text_and_nothing_else(text: str) -> None:
    page = read(markdown_table(("item", "why"), [(text, "first"), ("second", text)]))
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", *["tr", "td", "td"] * 2]
    cells = [each.replace("\u2060", "") for each in page.texts]
    assert cells == ["item", "why", shown(text), "first", "second", shown(text)]


@given(st.lists(st.tuples(st.text(), st.text("|\\`*_[](){}<>!#&~\n -=:/.@wh1")), min_size=1, max_size=4))
def test_table_keeps_its_form_whatever_is_in_it(rows: list[tuple[str, str]]) -> None:
    page = read(markdown_table(("item", "why"), rows))
    assert page.tags == ["table", "thead", "tr", "th", "th", "tbody", *["tr", "td", "td"] * len(rows)]


@pytest.mark.parametrize("text", ["see https://evil.example", "HTTP://evil.example", "ftp://x.y", "www.a.b", "a@b.c"])
def test_addresses_do_not_become_links(text: str) -> None:
    """Prefect's two UIs look for these forms, one of them after the escapes were read."""
    assert re.search(r"(?i)(https?|ftp)://|www\.|[\w.+-]@", text)
    seen = "".join(read(escape_markdown(text)).texts)
    assert not re.search(r"(?i)(https?|ftp)://|www\.|[\w.+-]@", seen)
    assert seen.replace("\u2060", "") == text


def test_direction_of_writing_cannot_be_turned() -> None:
    assert escape_markdown("icon\u202egnp\x00") == "icon\ufffdgnp\ufffd"


def test_writing_and_emoji_keep_their_joiners() -> None:
    assert escape_markdown("\u0646\u200c\u0645 👩\u200d🚀") == "\u0646\u200c\u0645 👩\u200d🚀"


def test_long_texts_are_cut_before_they_are_escaped() -> None:
    assert escape_markdown("*" * 9, limit=4) == r"\*\*\*…"
    assert markdown_table(("a",), [("x" * 999,)], limit=5).splitlines()[2] == "| xxxx… |"


def test_empty_cells_and_numbers() -> None:
    assert markdown_table(("a", "b"), [(None, 1.5)]).splitlines()[2] == r"|  | 1\.5 |"


def test_wrong_number_of_cells_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        markdown_table(("a", "b"), [("x",)])
    with pytest.raises(ValueError, match="at least one column"):
        markdown_table((), [])
