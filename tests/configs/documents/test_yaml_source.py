import io
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from configs.documents import yaml_source
from configs.documents.problems import InvalidInput, Problem, child
from configs.documents.yaml_source import parse_yaml


def refused(data: str | bytes) -> list[Problem]:
    """The problems of a file that cannot be read, or of one that can."""
    data = data if isinstance(data, bytes) else data.encode()
    try:
        return list(parse_yaml(data, "f.yaml").problems)
    except InvalidInput as refusal:
        return list(refusal.problems)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1.0", 1.0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("null", None),
        ("a red potion", "a red potion"),
        ("'no'", "no"),
        ('"2024-01-01"', "2024-01-01"),
        ("'007'", "007"),
        ("!!str 1", "1"),
        ("1.2.3", "1.2.3"),
        ("-", None),
        ("12:30", "12:30"),
        ("1 potion", "1 potion"),
        ("🧪", "🧪"),
        ("|\n  two\n  lines", "two\nlines\n"),
    ],
)
def test_a_scalar(text, value):
    if text == "-":
        assert parse_yaml(b"a:\n-\n", "f").data == {"a": [None]}
        return
    read = parse_yaml(f"a: {text}\n".encode(), "f").data["a"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "path", "line", "said"),
    [
        ("", "", 1, "the file is empty"),
        ("# only a comment\n", "", 1, "the file is empty"),
        ("- a\n- b\n", "", 1, "must be fields (`name: …`), not a list"),
        ("just text\n", "", 1, "must be fields (`name: …`), not a text"),
        ("a: 1\n---\nb: 2\n", "", 2, "a second document"),
        ("a: 1\nb: [1, 2\nc: 3\n", "", 3, "not valid YAML"),
        ("a: 'x\n", "", 1, "not valid YAML"),
        ("a:\n\tb: 1\n", "", 2, "tab in the indentation"),
        ("a: 1\nb: \x07\n", "", 2, "control character"),
        (b"a: 1\nb: \xff\xfe\n", "", 2, "not UTF-8 (byte 0xff)"),
        ("a: 1\n".encode("utf-16"), "", 1, "not UTF-8"),
        ("a: *b\n", "a", 1, "`*b` names no anchor"),
        ("a: &x [*x]\n", "a[0]", 1, "`*x` names no anchor that ends before it"),
        ("a: 1\n? [1, 2]\n: 3\n", "", 2, "a key must be a word"),
        ("a: &x 1\n*x : 3\n", "", 2, "cannot be a key"),
        ("a: " + "[" * 40 + "]" * 40 + "\n", "a" + "[0]" * 31, 1, "nested deeper than 32"),
        ("[" * 100_000, "[0]" * 32, 1, "nested deeper than 32"),
        ("a: 1\nb: 2\na: 3\n", "a", 3, "`a` is written twice (first in line 1)"),
        ("a: {b: 1, b: 2}\n", "a.b", 1, "`b` is written twice"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "c", 3, "merge keys"),
        ("a: 1\nb: no\n", "b", 2, "write false, or quote"),
        ("a: On\n", "a", 1, "write true, or quote"),
        ("a: 2024-01-01\n", "a", 1, "looks like a date: put it in quotes"),
        ("a: 2024-01-01 10:00:00\n", "a", 1, "looks like a date"),
        ("a: .nan\n", "a", 1, "not a finite number"),
        ("a: -.inf\n", "a", 1, "not a finite number"),
        ("a: 1e999\n", "a", 1, "not a finite number"),
        ("a: 007\n", "a", 1, "leading zeros"),
        ("a: 1_000\n", "a", 1, "underscores"),
        (f"a: {'9' * 5000}\n", "a", 1, "more than 100 digits"),
        ("a: !!python/object:os.system x\n", "a", 1, "is not supported"),
        ("a: !mine {b: 1}\n", "a", 1, "is not supported"),
    ],
)
def test_a_mistake(text, path, line, said):
    problem = refused(text)[0]
    assert (problem.path, problem.file, problem.line) == (path, "f.yaml", line)
    assert said in problem.message


def test_all_mistakes_at_once():
    problems = refused("a: no\nb: 007\nb: 1\nc: [2024-01-01]\n")
    assert [(each.path, each.line) for each in problems] == [("a", 1), ("b", 2), ("b", 3), ("c[0]", 4)]


def test_aliases_are_the_value_they_name():
    document = parse_yaml(b"a: &x {b: [1, 2]}\nc: *x\nd: [*x, 3]\n", "f")
    assert document.data == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}, 3]}
    assert document.line("c.b[1]") == 2


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    problems = refused("\n".join(lines))
    assert "aliases count as often as they are used" in problems[0].message


def test_documents_have_a_largest_size(monkeypatch):
    monkeypatch.setattr(yaml_source, "MAX_NODES", 100)
    assert not refused("a: [" + "x, " * 90 + "]")
    assert "more than 100 values" in refused("a: [" + "x, " * 120 + "]")[0].message


def test_byte_order_marks_and_windows_lines():
    document = parse_yaml("\ufeffa: 1\r\nb:\r\n  - c: 2\r\n".encode(), "f")
    assert document.data == {"a": 1, "b": [{"c": 2}]}
    assert document.line("b[0].c") == 3


def test_a_missing_value_has_the_line_of_what_should_hold_it():
    document = parse_yaml(b"x: 1\na:\n  - b: 1\n\n  - c: 2\n", "f")
    assert [document.line(path) for path in ("a[1].seed", "a[1]", "a[7].b", "other", "a[0].b.c.d")] == [5, 5, 2, 1, 3]


def unambiguous(text: str) -> bool:
    return text.lower() not in ("no", "on", "off", "yes")


UNHURRIED = settings(max_examples=60, deadline=None)  # parsers in Python, on machines that do other things as well
words = st.from_regex(r"[a-z]{1,6}", fullmatch=True).filter(unambiguous)
# The line ends of YAML 1.1 (and byte order marks) are left out: ruamel's writer does not escape them.
texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029\ufeff"), max_size=12
).filter(unambiguous)
scalars = st.one_of(texts, words, st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False))
values = st.recursive(
    st.one_of(scalars, st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)


@UNHURRIED
@given(st.dictionaries(words, values, min_size=1, max_size=5))
def test_what_another_writer_wrote_is_read_back(data):
    stream = io.StringIO()
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.dump(data, stream)
    assert parse_yaml(stream.getvalue().encode(), "f").data == data


def _write(value, indent: int, path: str, lines: list[str], expected: dict[str, int]) -> None:
    """Writes block YAML by hand, noting the line in which each value begins."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in pairs:
        place = child(path, key)
        head = " " * indent + (f"{key}:" if isinstance(key, str) else "-")
        expected[place] = len(lines) + 1
        if isinstance(each, int):
            lines.append(f"{head} {each}")
        else:
            lines.append(head)
            if not isinstance(key, str):
                expected[place] += 1  # a dash alone: the value begins in the next line
            _write(each, indent + 2, place, lines, expected)


@UNHURRIED
@given(
    st.dictionaries(
        words,
        st.recursive(
            st.integers(0, 9),
            lambda inner: st.one_of(
                st.lists(inner, min_size=1, max_size=3), st.dictionaries(words, inner, min_size=1, max_size=3)
            ),
            max_leaves=10,
        ),
        min_size=1,
        max_size=4,
    )
)
def test_every_value_knows_its_line(data):
    lines: list[str] = []
    expected: dict[str, int] = {}
    _write(data, 0, "", lines, expected)
    document = parse_yaml("\n".join(lines).encode(), "f")
    assert document.data == data
    assert {path: document.line(path) for path in expected} == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data):
    for problem in refused(data):
        assert problem.message and problem.line >= 1


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@\n\t ,?~0", max_size=40))
def test_any_syntax_is_read_or_refused(text):
    for problem in refused(text):
        assert problem.message and problem.line >= 1


# -- documents that mean harm ----------------------------------------------------------------------------------------


def billion_laughs(text: str = "lol", width: int = 10, depth: int = 10) -> str:
    lines = [f"a0: &a0 [{', '.join([text] * width)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(lines)


BOMBS = {
    "lists that multiply": billion_laughs(),
    "fields that multiply": "a0: &a0 {x: 1, y: 2}\n"
    + "\n".join(f"a{n}: &a{n} {{x: *a{n - 1}, y: *a{n - 1}, z: *a{n - 1}}}" for n in range(1, 30)),
    "a long text, often": f"a: &a {'x' * 1_000_000}\nb: [{', '.join(['*a'] * 1000)}]",
    "long texts that multiply": billion_laughs("x" * 10_000, depth=6),
    "a long key above many values": f"? {'k' * 257}\n: [1, 2]",
    "long keys within each other": "\n".join(f"{' ' * n}{'k' * 256}:" for n in range(30))
    + "\n"
    + " " * 30
    + "["
    + "1," * 10_000
    + "1]",
    "brackets": "a: " + "[" * 200_000,
    "braces": "a: " + "{a: " * 100_000,
    "indentation": "\n".join(f"{' ' * n}a:" for n in range(2000)),
    "a text that looks like a number for long": "a: 1" + "_" * 200_000 + "x",
    "a date that does not end": "a: 2024-01-01" + "T" * 200_000,
    "many digits": "a: " + "9" * 200_000,
    "many anchors": "a: [" + ", ".join(f"&a{n} x" for n in range(10_000)) + ", *nothing]",
    "an alias in itself": "a: &a [*a]",
    "tags": "a: !!python/object/apply:os.system [touch /tmp/pixelmill-owned]",
    "many documents": "a: 1\n---\n" * 50_000,
}

READ = {"a text that looks like a number for long", "a date that does not end"}  # as the texts that they are


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_or_read_in_time_and_within_memory(name, monkeypatch):
    monkeypatch.setattr(yaml_source, "MAX_PATHS", 64_000_000)  # tracing makes a larger one slow
    start = time.process_time()
    tracemalloc.start()
    try:
        problems = refused(BOMBS[name])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - start < 20  # tracing takes most of it
    assert peak < yaml_source.MAX_PATHS + 64_000_000
    assert bool(problems) is (name not in READ)


def test_a_file_that_is_too_large_is_not_parsed():
    (problem,) = refused(b"a: " + b"x" * yaml_source.MAX_BYTES)
    assert "put the items into a table" in problem.message
