"""Tables and templates that mean harm: small, and large once they are read. Refused in time and within memory."""

import io
import json
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from configs.documents.problems import MAX_PROBLEMS, InvalidInput, Problem, did_you_mean
from configs.documents.yaml_source import parse_yaml
from configs.job import items as job_items
from configs.job.file_sets import FileSet
from configs.job.job import Grid, expand_grid, grid_problems, read_job
from configs.job.tables import read_table
from configs.settings.access import Access
from configs.settings.settings import Settings

LIMIT = 1_000_000


def packed(*, dictionary: bool = True, **columns: object) -> bytes:
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file, compression="zstd", use_dictionary=dictionary)
    return file.getvalue()


def repeated(text: str, times: int) -> pyarrow.Array:
    return pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * times, pyarrow.int32()), [text])


# What is told about each; None: it is read.
PARQUET_BOMBS: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "one text in many rows": (lambda: packed(prompt=repeated("x" * 10_000, 10_000)), None),
    "a long text in many rows": (lambda: packed(prompt=repeated("x" * 5_000_000, 10_000)), "a text of 5,000,000 bytes"),
    "long texts": (lambda: packed(prompt=["x" * 1_000_000] * 30, dictionary=False), "a text of 1,000,000 bytes"),
    "a large column": (lambda: packed(prompt=["x" * 9_000] * 6_000, dictionary=False), "bytes unpacked, more than"),
    "many columns": (lambda: packed(**{f"a{n}": [1] for n in range(1000)}), "1,000 columns, more than 256"),
    "many rows": (lambda: packed(seed=pyarrow.array([1] * 5_000_000)), "5,000,000 rows, more than 1,000,000"),
    "lists": (lambda: packed(tags=[["x"] * 100_000]), "not a list"),
    "fields": (lambda: packed(tags=[{"a": {"b": 1}}]), "not fields"),
}

READ_ALL = """
import json, resource, time
from configs.job import tables
from tests.configs.job.test_hostile_inputs import LIMIT, PARQUET_BOMBS, read_table

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

tables.MAX_GROUP_BYTES = 50_000_000
files = {name: make() for name, (make, _) in PARQUET_BOMBS.items()}
told = {}
for name, data in files.items():
    before, start = peak(), time.process_time()
    rows, problems, _ = read_table(data, "t.parquet", LIMIT)
    told[name] = [str(each) for each in problems], len(rows), len(data), peak() - before, time.process_time() - start
print(json.dumps(told))
"""


@pytest.mark.e2e
def test_small_files_that_hold_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", READ_ALL], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    for name, (_, message) in PARQUET_BOMBS.items():
        problems, rows, size, megabytes, seconds = told[name]
        assert size < 1_000_000, name
        assert megabytes < 100, f"{name} took {megabytes} MB"
        assert seconds < 10, f"{name} took {seconds} s"
        if message is None:
            assert rows and not problems, name
        else:
            assert message in problems[0], name


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_tables_give_rows_or_a_clear_error(data: st.DataObject) -> None:
    damaged = bytearray(SOUND)
    for place in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=8)):
        damaged[place] = data.draw(st.integers(0, 255))
    rows, problems, _ = read_table(bytes(damaged), "t.parquet", 100)
    assert rows or problems


SOUND = packed(name=["a", "b", None], prompt=["x", "x", "y"], level=[1, None, 3], mood=repeated("calm", 3))


@contextmanager
def bounded(*, megabytes: int, seconds: float) -> Iterator[None]:
    """Tracing makes things slow: the seconds are generous."""
    start = time.process_time()
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 1_000_000, f"{peak / 1e6:.0f} MB"
    assert time.process_time() - start < seconds


TEXT_BOMBS = {
    "columns": (",".join(f"a{n}" for n in range(200_000)) + "\n", "t.csv", "200,000 columns, more than 256"),
    "a cell": ("name,prompt\na," + "x" * 5_000_000 + "\n", "t.csv", "field larger than field limit"),
    "quotes": ('name,prompt\na,"' + "x\n" * 2_000_000, "t.csv", "field larger than field limit"),
    "empty lines": ("name\n" + "\n" * 200_000, "t.csv", "holds no items"),
    "empty lines of JSON": ("\n" * 200_000, "t.jsonl", "holds no items"),
    "depth": ('{"a": ' * 100_000, "t.jsonl", "not valid JSON"),
    "depth below the limit": ('{"a": ' + "[" * 500 + "]" * 500 + "}", "t.jsonl", "not a list"),
    "keys": (json.dumps({f"a{n}": 1 for n in range(30_000)}), "t.jsonl", "30,000 fields, more than 256"),
    "keys of vars": (json.dumps({"vars": {f"a{n}": 1 for n in range(20_000)}}), "t.jsonl", "at most 200 entries"),
    "digits": ('{"seed": ' + "9" * 1_000_000 + "}", "t.jsonl", "not valid JSON"),
    "an exponent": ('{"level": 1e999999999}', "t.jsonl", "finite number"),
    "a text": (json.dumps({"prompt": "x" * 5_000_000}), "t.jsonl", "at most 10000 characters"),
}


@pytest.mark.parametrize("name", TEXT_BOMBS)
def test_tables_of_text_that_are_too_much(name: str) -> None:
    text, file, message = TEXT_BOMBS[name]
    with bounded(megabytes=120, seconds=20):
        rows, problems, _ = read_table(text.encode(), file, LIMIT)
    assert not rows
    assert message in str(problems[0])


def test_nobody_reads_a_million_mistakes() -> None:
    table = "name,seed\n" + "a,x\n" * 20_000
    with bounded(megabytes=60, seconds=20):
        _, problems, _ = read_table(table.encode(), "t.csv", LIMIT)
    assert MAX_PROBLEMS < len(problems) < 2 * MAX_PROBLEMS
    refusal = InvalidInput(Problem("x", f"mistake {n}") for n in range(100_000))
    assert len(refusal.problems) == MAX_PROBLEMS + 1
    assert str(refusal).endswith("and 99,500 more mistakes: mend these first")


@pytest.mark.parametrize("line", ["items: [" + "1," * 5_000 + "1]", "items: [{vars: {" + "a-b: [], " * 1 + "}}]"])
def test_mistakes_in_a_job_file_are_counted_not_listed(line: str) -> None:
    document = parse_yaml(f"name: j\nrecipe: r\noutput: o\n{line}\n".encode(), "job.yaml")
    with bounded(megabytes=200, seconds=30):
        read = read_job(document)
    assert 0 < len(read.problems) <= 2 * MAX_PROBLEMS


def test_hints_are_looked_for_among_so_many_names_only() -> None:
    names = [f"variable_{number}" for number in range(50_000)]
    start = time.process_time()
    did_you_mean("x" * 100_000, names)
    did_you_mean("varible_7", names)
    assert time.process_time() - start < 5


# -- templates -------------------------------------------------------------------------------------------------------


def test_long_lists_are_compared_quickly() -> None:
    grid = Grid.model_validate({"prompt": "{a}", "a": tuple(range(200_000))})
    start = time.process_time()
    assert grid_problems(grid, "matrix", {}) == []
    assert time.process_time() - start < 2


def test_a_template_that_names_a_long_value_often() -> None:
    """3,300 times 10,000 characters for each combination, if somebody filled it in."""
    grid = Grid.model_validate({"prompt": "{t}" * 3_300, "a": tuple(range(100))})
    with bounded(megabytes=20, seconds=5):
        made = list(expand_grid(grid, "matrix", {"t": "x" * 10_000}))
    assert len(made) == 100
    assert all("at most 10000 characters" in problem.message for some in made for problem in some)


def test_a_few_lines_cannot_stand_for_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_items, "MAX_CHARACTERS", 1_000_000)
    text = f"name: j\nrecipe: r\noutput: o\nvars: {{t: {'x' * 9_000}}}\n"
    text += "matrix:\n  prompt: '{t} {a}'\n  a: [" + ", ".join(map(str, range(10_000))) + "]\n"
    document = parse_yaml(text.encode(), "job.yaml")
    with bounded(megabytes=60, seconds=10):
        source = job_items.JobSource(
            read=read_job(document),
            document=document,
            folder="/",
            max_items=LIMIT,
            read_bytes=lambda _: b"",
            list_files=lambda base, _: FileSet(base, ()),
            access=Access(Settings()),
            defaults={},
        )
        items = job_items.job_items(source)
    (problem,) = items.problems
    assert str(problem).startswith("job.yaml:5: matrix: the items up to here have more than")
    assert not items.complete


@pytest.mark.parametrize(
    "template",
    ["{a.__class__}", "{a[0]}", "{a!r}", "{a:>999999999}", "{0}", "{}", "{a.b.c}", "{__import__('os')}", "{a"],
)
def test_templates_are_names_in_braces_and_nothing_else(template: str) -> None:
    grid = Grid.model_validate({"prompt": template, "a": ("x",)})
    (problem,) = grid_problems(grid, "matrix", {})
    assert problem.path == "matrix.prompt"
