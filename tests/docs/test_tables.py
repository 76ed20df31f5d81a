"""The generated tables are those of the code, and nothing is missing from them."""

import subprocess
import sys

import pytest

from configs.catalogues import catalogue
from configs.settings.settings import Settings, variable_of
from docs import tables
from flows.serve.metrics import FLEET_TABLE
from gpu_worker.monitor.metric_table import TABLE
from steps.facts import FACTS

pytestmark = pytest.mark.parts  # loads every step and Prefect


def test_generated_files_are_up_to_date():
    """Run in a process of its own, without the steps that other tests add to the catalogue."""
    command = [sys.executable, "-m", "docs.tables", "--check"]
    done = subprocess.run(command, cwd=tables.ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (tables.facts_tables, list(FACTS)),
        (tables.settings_table, [variable_of(name) for name in Settings.model_fields]),
        (lambda: tables.metrics_table([*TABLE, *FLEET_TABLE]), [row.name for row in (*TABLE, *FLEET_TABLE)]),
    ],
    ids=["facts", "settings", "metrics"],
)
def test_every_name_has_one_row(text, names):
    assert all(text().count(f"\n| `{name}` |") == 1 for name in names)


def test_every_step_has_a_section():
    assert all(f"### `{name}`\n" in tables.steps_tables() for name in catalogue.names("steps"))


@pytest.fixture
def page(tmp_path, monkeypatch):
    path = tmp_path / "page.md"
    path.write_text("before\n<!-- things: begin (x) -->\nold\n<!-- things: end -->\nafter\n")
    monkeypatch.setattr(tables, "ROOT", tmp_path)
    monkeypatch.setattr(tables, "PREFECT_YAML", tmp_path / "prefect.yaml")
    monkeypatch.setattr(tables, "TABLES", (("page.md", "things", lambda: "| new |"),))
    return path


def test_an_outdated_table_is_named_and_then_written(page, capsys):
    assert tables.main(["--check"]) == 1
    assert "page.md: out of date: run `make docs`" in capsys.readouterr().out
    assert "old" in page.read_text()
    assert tables.main([]) == 0
    assert page.read_text() == "before\n<!-- things: begin (x) -->\n| new |\n<!-- things: end -->\nafter\n"
    assert tables.main(["--check"]) == 0


def test_a_page_without_marks_is_refused(page):
    page.write_text("no marks\n")
    with pytest.raises(ValueError, match="marks of the table `things`"):
        tables.outdated()
