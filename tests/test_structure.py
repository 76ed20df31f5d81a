"""The house keeps its order: names that stand once, rooms that are not too full, files with one subject."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.parts  # reads all of the core

ROOT = Path(__file__).parents[1]
CORE = ("configs", "storage", "steps", "gpu_worker", "flows")
MOST_MODULES = 15
MOST_LINES = 400


def core_files() -> list[Path]:
    return sorted(path for package in CORE for path in (ROOT / package).rglob("*.py"))


def test_no_class_name_stands_twice() -> None:
    files = defaultdict(set)
    for path in core_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                files[node.name].add(str(path.relative_to(ROOT)))
    assert {name: where for name, where in files.items() if len(where) > 1} == {}


def test_no_room_is_too_full() -> None:
    modules = defaultdict(int)
    for path in core_files():
        if path.stem != "__init__":
            modules[str(path.parent.relative_to(ROOT))] += 1
    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}


def test_no_file_has_two_subjects() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in core_files()}
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}
