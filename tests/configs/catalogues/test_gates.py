"""Gates by name, from files."""

import os
import re

import pytest

from configs.catalogues.gates import UnknownGate, find_gate, read_gates
from configs.conditions import Condition
from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from steps.facts import FACTS
from tests.support import ROOT

PAGE = (ROOT / "docs" / "gates.md").read_text(encoding="utf-8")
JUDGED = {"object_match", "color_match"}
MINE = """\
gates:
  bright:
    require: facts.this.brightness > 0.4
    because: too dark
"""


@pytest.fixture
def gates(tmp_path):
    class Gates:
        folder = tmp_path / "gates"
        settings = Settings(home=tmp_path, gates_path=(tmp_path / "gates",))

        def write(self, text: str = MINE, name: str = "mine"):
            path = self.folder / f"{name}.yaml"
            path.write_text(text)
            return path

    made = Gates()
    made.folder.mkdir()
    return made


def test_the_shipped_gates_read_facts_that_exist():
    for name in read_gates(Settings()):
        gate = find_gate(name, Settings())
        read = {path for path in Condition.parse(gate.require).names if path[0] == "facts"}
        assert read
        assert {path[1] for path in read} == {"this"}
        assert {path[2] for path in read} <= FACTS.keys() | JUDGED
        assert gate.because and gate.description


def test_the_gates_that_every_deployment_has():
    shipped = {"blank", "sharp", "whole", "solid", "cut_out", "clean", "seamless", "tileable"}
    assert shipped | {"right_object", "right_color"} <= set(read_gates(Settings()))


def test_the_page_names_every_shipped_gate():
    for name in read_gates(Settings()):
        assert f"`{name}`" in PAGE


def test_the_page_has_an_example_that_can_be_read(gates):
    gates.write(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[-1])
    assert find_gate("sharp", gates.settings).because == "too soft"
    assert find_gate("red_enough", gates.settings).because == "not colorful"


def test_a_gate_of_ones_own(gates):
    gates.write()
    assert find_gate("bright", gates.settings).because == "too dark"
    assert "sharp" in read_gates(gates.settings)


def test_ones_own_comes_before_a_shipped_one(gates):
    gates.write(MINE.replace("bright:", "sharp:"))
    assert find_gate("sharp", gates.settings).require == "facts.this.brightness > 0.4"


def test_a_file_can_be_named_instead_of_a_folder(gates):
    path = gates.write()
    assert find_gate("bright", Settings(gates_path=(path,))).name == "bright"


def test_a_file_that_was_changed_is_read_again(gates):
    path = gates.write()
    find_gate("bright", gates.settings)
    path.write_text(MINE.replace("too dark", "darker than asked"))
    os.utime(path, ns=(1, 1))
    assert find_gate("bright", gates.settings).because == "darker than asked"


@pytest.mark.parametrize("name", ["shrp", "Sharp", ""])
def test_an_unknown_gate(gates, name):
    with pytest.raises(UnknownGate, match="unknown gate"):
        find_gate(name, gates.settings)


def test_an_unknown_read_gates_the_nearest(gates):
    with pytest.raises(UnknownGate, match="did you mean `sharp`"):
        find_gate("shrp", gates.settings)


@pytest.mark.parametrize(
    ("text", "path", "line", "said"),
    [
        ("gatez: {}\n", "gatez", 1, "did you mean `gates`?"),
        ("gates: {}\n", "gates", 1, "at least 1 entries"),
        ("gates:\n  a: {because: x}\n", "gates.a.require", 2, "is missing"),
        ("gates:\n  a: {require: '1 > 0'}\n", "gates.a.because", 2, "is missing"),
        ("gates:\n  a: {require: '1 >', because: x}\n", "gates.a.require", 2, "is not an expression"),
        ("gates:\n  a: {require: 'x > 1', because: x}\n", "gates.a.require", 2, "unknown name `x`"),
        ("gates:\n  a: {require: 'f(1)', because: x}\n", "gates.a.require", 2, "functions cannot be called"),
        ("gates:\n  a: {require: '1 > 0', because: ' '}\n", "gates.a.because", 2, "must not be empty"),
        ("gates:\n  A b: {require: '1 > 0', because: x}\n", "gates.A b", 2, "lower-case"),
        ("gates:\n  a: {require: '1 > 0', because: x, becuase: y}\n", "gates.a.becuase", 2, "did you mean `because`?"),
    ],
)
def test_a_mistake(gates, text, path, line, said):
    gates.write(text)
    with pytest.raises(InvalidInput) as refusal:
        read_gates(gates.settings)
    found = {(each.path, each.line): each.message for each in refusal.value.problems}
    assert said in found[path, line]


def test_every_mistake_of_every_file_at_once(gates):
    gates.write("gates:\n  a: {require: 1 > 0}\n", "one")
    gates.write("nothing: here\n", "two")
    with pytest.raises(InvalidInput) as refusal:
        find_gate("sharp", gates.settings)
    assert {str(each.file).rpartition("/")[2] for each in refusal.value.problems} == {"one.yaml", "two.yaml"}


def test_a_name_twice_in_one_folder(gates):
    gates.write(name="one")
    gates.write(name="two")
    with pytest.raises(InvalidInput) as refusal:
        read_gates(gates.settings)
    (problem,) = refusal.value.problems
    assert (problem.path, problem.line) == ("gates.bright", 2)
    assert "`bright` is taken by" in problem.message and "one.yaml" in problem.message


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(InvalidInput, match=r"none.yaml: cannot be read"):
        read_gates(Settings(gates_path=(tmp_path / "none.yaml",)))
