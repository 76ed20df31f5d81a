"""Dashboard, alerts and scrape configuration ask for metrics that exist, and real tools accept them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from flows.serve.metrics import FLEET_TABLE
from gpu_worker.monitor.metric_table import TABLE, Metric
from gpu_worker.process.worker_metrics import ROWS
from tests.support import ROOT

DASHBOARD = json.loads((ROOT / "docker" / "grafana" / "pixelmill.json").read_text(encoding="utf-8"))
ALERTS = ROOT / "docker" / "prometheus-alerts.yml"
SERIES: dict[str, Metric] = {**ROWS, **{row.name: row for row in FLEET_TABLE}}
TARGET_LABELS = {"instance", "job", "le"}  # that Prometheus adds, and that of buckets

promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's package prometheus)")


def panels(of: list[dict[str, Any]] | None = None) -> Iterator[dict[str, Any]]:
    for panel in DASHBOARD["panels"] if of is None else of:
        yield panel
        yield from panels(panel.get("panels", []))


def queries() -> list[tuple[str, str]]:
    """(title, expression) of all panels and variables."""
    found = [(panel["title"], target["expr"]) for panel in panels() for target in panel.get("targets", [])]
    found += [(each["name"], each["definition"]) for each in DASHBOARD["templating"]["list"] if "definition" in each]
    return found


def rules() -> list[dict[str, Any]]:
    document = YAML(typ="safe").load(ALERTS.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def names(expression: str) -> set[str]:
    return set(re.findall(r"\bpixelmill_\w+", expression))


def problems(expression: str) -> list[str]:
    """What it asks for that no worker and no fleet has."""
    unknown = sorted(names(expression) - SERIES.keys())
    labels = TARGET_LABELS.union(*(SERIES[name].labels for name in names(expression) if name in SERIES))
    grouped = re.findall(r"\b(?:by|on|without|ignoring|group_left) ?\(([^)]*)\)", expression)
    wanted = {label.strip() for group in grouped for label in group.split(",") if label.strip()}
    for name, matchers in re.findall(r"\b(pixelmill_\w+)\{([^}]*)\}", expression):
        own = TARGET_LABELS.union(SERIES[name].labels if name in SERIES else ())
        unknown += sorted(f"{name}: {label}" for label in set(re.findall(r"(\w+) ?[=!]", matchers)) - own)
    return unknown + sorted(wanted - labels)


@pytest.mark.parametrize(("title", "expression"), queries())
def test_a_panel_asks_for_what_there_is(title: str, expression: str) -> None:
    assert names(expression)
    assert problems(expression) == []


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is_and_says_what_to_do(rule: dict[str, Any]) -> None:
    if rule["alert"] != "PixelmillWorkerDown":  # of Prometheus itself
        assert names(rule["expr"])
    assert problems(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert rule["annotations"].keys() == {"summary", "description"}


def test_unknown_names_and_labels_are_found() -> None:
    assert problems("rate(pixelmill_imags_total[5m])") == ["pixelmill_imags_total"]
    assert problems('sum by (stage) (pixelmill_images_total{outcom="failed"})') == [
        "pixelmill_images_total: outcom",
        "stage",
    ]


def test_the_dashboard_shows_every_metric() -> None:
    shown = {SERIES[name].name for _, expression in queries() for name in names(expression)}
    assert {row.name for row in (*TABLE, *FLEET_TABLE)} - shown == set()


def test_the_dashboard_can_be_imported_anywhere() -> None:
    numbers = [panel["id"] for panel in panels()]
    assert len(numbers) == len(set(numbers))
    (datasource,) = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"]
    assert datasource["query"] == "prometheus"
    for panel in panels():
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": f"${{{datasource['name']}}}"}
    assert "id" not in DASHBOARD


def test_panels_lie_side_by_side() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


@pytest.mark.parametrize("row", [*TABLE, *FLEET_TABLE], ids=lambda row: row.name)
def test_names_follow_the_conventions(row: Metric) -> None:
    assert re.fullmatch(r"pixelmill_[a-z]+(_[a-z]+)*", row.name)
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert not re.search(r"_(ms|millis|mb|megabytes|kb|percent)(_|$)", row.name), "base units"
    assert row.help.endswith(".")


@pytest.mark.parts
@promtool
@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "docker/prometheus.yml"),
        ("check", "rules", "--lint-fatal", "docker/prometheus-alerts.yml"),
        ("test", "rules", "tests/docker/alerts.test.yml"),
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_promtool_is_content(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parts
@promtool
def test_the_panels_are_sound_promql(tmp_path: Path) -> None:
    expressions = [expression for title, expression in queries() if not expression.startswith("label_values")]
    concrete = [each.replace("$__rate_interval", "1m").replace("$instance", ".*") for each in expressions]
    groups = {"groups": [{"name": "p", "rules": [{"record": f"p{i}", "expr": e} for i, e in enumerate(concrete)]}]}
    (tmp_path / "rules.json").write_text(json.dumps(groups))
    done = subprocess.run(
        ["promtool", "check", "rules", tmp_path / "rules.json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    document = YAML(typ="safe").load((Path(__file__).parent / "alerts.test.yml").read_text(encoding="utf-8"))
    fired = {
        check["alertname"] for test in document["tests"] for check in test["alert_rule_test"] if check.get("exp_alerts")
    }
    assert fired == {rule["alert"] for rule in rules()}
