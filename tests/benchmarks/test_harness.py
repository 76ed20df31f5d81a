"""The command: what it prints and writes, and when it fails."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.contract import Bar, Bench, Benchmark
from benchmarks.table import MODULES, find


@pytest.fixture(autouse=True)
def known_benchmarks(monkeypatch):
    monkeypatch.setitem(MODULES, "T1", "tests.benchmarks.small_benchmark")
    monkeypatch.setitem(MODULES, "T2", "tests.benchmarks.missing_part")


def last_line(text: str) -> dict[str, float]:
    return json.loads(text.splitlines()[-1])


@pytest.mark.parts
def test_a_missed_bar_is_named_and_fails_the_command(tmp_path, capsys):
    assert main(["--only", "T1", "--out", str(tmp_path)]) == 1
    printed = capsys.readouterr().out
    assert "missed: T1.ratio" in printed
    assert last_line(printed) == {"T1.items": 1000, "T1.ratio": 0.9}


@pytest.mark.parts
def test_a_quick_look_shows_bars_but_does_not_fail(tmp_path, capsys):
    assert main(["--only", "T1", "--scale", "0.01", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "MISSED" in printed
    assert last_line(printed)["T1.items"] == 10


@pytest.mark.parts
def test_what_a_machine_lacks_is_said_and_misses_no_bar(tmp_path, capsys):
    assert main(["--only", "t2", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "skipped: no such device" in printed
    assert last_line(printed) == {"T2.first": 1.0}


@pytest.mark.parts
def test_the_file_says_where_and_of_which_code_the_figures_are(tmp_path):
    main(["--only", "T1", "--out", str(tmp_path)])
    document = json.loads((tmp_path / "T1.json").read_text())
    assert document["measures"] == {"items": 1000, "ratio": 0.9}
    assert document["bars"] == {"ratio": ">= 0.95"}
    assert document["missed"] == ["ratio"]
    assert document["machine"]["cores"] >= 1
    assert {"revision", "at", "scale", "seconds"} <= document.keys()


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path, capsys):
    with pytest.raises(SystemExit) as refusal:
        main(["--only", "B99", "--out", str(tmp_path)])
    assert refusal.value.code == 2
    assert "B99: choose from B1, B2" in capsys.readouterr().err


def test_a_measure_that_is_not_there_misses_its_bar():
    benchmark = Benchmark("T3", "", {"a": Bar(most=1), "b": Bar(most=1)}, lambda bench: iter(()))
    assert benchmark.missed({"a": 1.0}) == ["b"]
    assert benchmark.missed({"a": 1.1, "b": float("nan")}) == ["a", "b"]


def test_the_table_finds_benchmarks_under_their_own_names():
    names = [name for name in MODULES if name.startswith("B")]
    assert [benchmark.name for benchmark in find(names)] == names


def test_a_count_is_scaled_down_to_a_least():
    bench = Bench(Path(), scale=0.001)
    assert (bench.count(10_000), bench.count(100), bench.count(100, least=7)) == (10, 1, 7)
