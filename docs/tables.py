"""Generator of the tables in the documentation, and of prefect.yaml, from the code.

`python -m docs.tables` (`make docs`) writes what is out of date; with `--check` (`make lint`) it only names it.
A page marks the place of a table with `<!-- NAME: begin … -->` and `<!-- NAME: end -->`.
"""

import inspect
import io
import json
import os
import re
import sys
import textwrap
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from configs.catalogues import catalogue
from configs.job.deployment import Deployment
from configs.settings.settings import Settings, variable_of
from flows.prefect_api.deployments import all_deployments, entrypoint_of, pool_of
from flows.serve.metrics import FLEET_TABLE
from gpu_worker.device.device import installed_version
from gpu_worker.monitor.metric_table import TABLE, Metric
from steps.contract import Step
from steps.facts import FACTS, FactSpec

ROOT = Path(__file__).parents[1]
PREFECT_YAML = ROOT / "prefect.yaml"
WIDTH = 118  # characters of a line of prose


def outdated() -> dict[Path, str]:
    """Return the new text of each generated file that differs from it."""
    texts: dict[Path, str] = {}
    for page, name, content in TABLES:
        path = ROOT / page
        texts[path] = _replaced(texts.get(path) or path.read_text(encoding="utf-8"), name, content())
    texts[PREFECT_YAML] = prefect_yaml(Settings())
    return {path: text for path, text in texts.items() if not path.exists() or path.read_text(encoding="utf-8") != text}


def main(arguments: Sequence[str]) -> int:
    """Write the files that are out of date, or with `--check` only name them; return the exit status."""
    check, found = "--check" in arguments, outdated()
    for path, text in found.items():
        if not check:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'out of date: run `make docs`' if check else 'written'}")
    return 1 if check and found else 0


def _replaced(page: str, name: str, content: str) -> str:
    """Return the page with the content between the marks of a name. Raises ValueError if the marks are missing."""
    marks = re.compile(rf"(<!-- {name}: begin[^\n]*-->\n).*?(\n<!-- {name}: end -->)", re.DOTALL)
    text, count = marks.subn(lambda match: match[1] + content + match[2], page)
    if count != 1:
        raise ValueError(f"found {count} pairs of marks of the table `{name}`: keep one, with begin and end")
    return text


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("|" + "|".join(row) + "|" if row[0] == "---" else f"| {' | '.join(row)} |" for row in lines)


# Steps: one section for each step of the catalogue.


def steps_tables() -> str:
    """Return a section for each step: summary, parameters, its own facts."""
    return "\n\n".join(_step_section(name, catalogue.load_step(name)) for name in catalogue.names("steps"))


def _step_section(name: str, step: type[Step]) -> str:
    summary = " ".join((inspect.getdoc(step) or "").split("\n\n")[0].split())
    fields = step.model_json_schema().get("properties", {})
    parts = [f"### `{name}`", textwrap.fill(summary, WIDTH, break_on_hyphens=False)]
    if fields:
        rows = [
            (f"`{field}`", _parameter(traits), _start(traits), traits["description"])
            for field, traits in fields.items()
        ]
        parts.append(_table(["parameter", "type", "default", "meaning"], rows))
    else:
        parts.append("No parameters.")
    if step.own_facts:
        parts.append(_table(["fact", "meaning"], [(f"`{fact}`", text) for fact, text in step.own_facts.items()]))
    return "\n\n".join(parts)


_BOUNDS = (
    ("minimum", "≥ {}"),
    ("exclusiveMinimum", "> {}"),
    ("maximum", "≤ {}"),
    ("multipleOf", "multiple of {}"),
    ("maxLength", "at most {:,} characters"),
    ("maxItems", "at most {}"),
)


def _parameter(traits: Mapping[str, Any]) -> str:
    kinds = [kind for kind in traits.get("anyOf", [traits]) if kind.get("type") != "null"]
    return "; ".join(part for kind in kinds for part in _traits(kind))


def _traits(kind: Mapping[str, Any]) -> Iterator[str]:
    if "enum" in kind:
        yield ", ".join(f"`{value}`" for value in kind["enum"])
    elif kind["type"] == "array":
        yield f"list of {'; '.join(_traits(kind['items']))}"
    else:
        yield str(kind["type"])
    yield from (text.format(kind[key]) for key, text in _BOUNDS if key in kind)


def _start(traits: Mapping[str, Any]) -> str:
    if "default" not in traits:
        return "required"
    return "`none`" if traits["default"] is None else f"`{json.dumps(traits['default'])}`"


# Facts: every fact in one of three tables.

_FACT_SECTIONS: tuple[tuple[str, Callable[[FactSpec], bool]], ...] = (
    ("Measured on every image", lambda spec: spec.always),
    ("Measured where a condition names them", lambda spec: not spec.always and not spec.reads_source),
    ("The same, compared with the step's input image", lambda spec: spec.reads_source),
)
_FACT_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


def facts_tables() -> str:
    """Return a table for each kind of fact, with names, ranges and meanings."""
    return "\n\n".join(
        f"### {title}\n\n"
        + _table(
            ["fact", "value", "meaning"],
            [(f"`{spec.name}`", _fact_range(spec), spec.description) for spec in FACTS.values() if belongs(spec)],
        )
        for title, belongs in _FACT_SECTIONS
    )


def _fact_range(spec: FactSpec) -> str:
    kind = _FACT_KINDS[spec.kind]
    if spec.low is None or spec.high is None:
        return kind if spec.low is None else f"{kind}, at least {spec.low:g}"
    low, high = (f"{value:,.1f}".removesuffix(".0") for value in (spec.low, spec.high))
    return f"{kind}, {low} … {high}"


# Settings: one row for each environment variable.

_SETTING_KINDS: dict[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "`true` or `false`",
    str: "text",
    Path: "folder",
    (tuple, Path): f"paths, separated by `{os.pathsep}`",
    (tuple, str): "names, separated by commas",
    SecretStr: "text, kept secret",
}


def settings_table() -> str:
    """Return a table: variable, type with bounds, default, description."""
    rows = [
        (f"`{variable_of(name)}`", _setting_kind(field), _setting_default(field), str(field.description))
        for name, field in Settings.model_fields.items()
    ]
    return _table(["variable", "value", "default", "meaning"], rows)


def _setting_kind(field: FieldInfo) -> str:
    kind = _plain_type(field.annotation)
    listed = isinstance(kind, tuple)
    annotation = kind[1] if isinstance(kind, tuple) else kind
    if options := [f"`{option}`" for option in _options(annotation)]:
        name = f"{', '.join(options)}, separated by commas" if listed else " or ".join(options)
    else:
        name = _SETTING_KINDS[kind]
    low = next((each.ge for each in field.metadata if hasattr(each, "ge")), None)
    high = next((each.le for each in field.metadata if hasattr(each, "le")), None)
    if low is not None and high is not None:
        return f"{name}, {low:,} … {high:,}"
    return f"{name}, at least {low:,}" if low is not None else name


def _setting_default(field: FieldInfo) -> str:
    if field.default in (None, ()):
        return "none"
    if isinstance(field.default, tuple):
        return f"`{','.join(field.default)}`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _options(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()


def _plain_type(annotation: Any) -> Any:
    """Return the type without None; for a list, a pair of `tuple` and the members' type."""
    origin = typing.get_origin(annotation)
    if origin is tuple:
        inner = typing.get_args(annotation)[0]
        return (tuple, typing.get_args(inner)[0] if typing.get_origin(inner) is typing.Annotated else inner)
    if origin in (typing.Union, types.UnionType):
        kind = next(each for each in typing.get_args(annotation) if each is not type(None))
        return typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    return annotation


# Metrics: name, type, labels, meaning.


def metrics_table(metrics: Sequence[Metric]) -> str:
    """Return a table of Prometheus metrics."""
    rows = [(f"`{row.name}`", row.kind, ", ".join(f"`{label}`" for label in row.labels), row.help) for row in metrics]
    return _table(["metric", "type", "labels", "meaning"], rows)


# prefect.yaml: for deploying with Prefect's own command.

_PREFECT_HEAD = """\
# Generated by `make docs` from configs/data/deployments/: change them there.
# `pixelmill deploy` makes these deployments and the work pools they need. `prefect deploy --all` makes the same
# deployments once the work pools exist.
"""


def prefect_yaml(settings: Settings) -> str:
    """Return the text of prefect.yaml, with the deployments that `pixelmill deploy` makes."""
    from ruamel.yaml import YAML

    document = {
        "name": "pixelmill",
        "pull": [],  # the code is installed where the workers run
        "deployments": [_deployment(each, settings) for each in all_deployments(settings)],
    }
    text = io.StringIO()
    writer = YAML()
    writer.width = 110
    writer.dump(document, text)
    return _PREFECT_HEAD + text.getvalue()


def _deployment(deployment: Deployment, settings: Settings) -> dict[str, Any]:
    pool: dict[str, Any] = {"name": pool_of(deployment, settings)}
    if deployment.queue is not None:
        pool["work_queue_name"] = deployment.queue
    schedules = [
        {
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "active": schedule.active,
            **({"parameters": schedule.parameters} if schedule.parameters else {}),
        }
        for schedule in deployment.schedules
    ]
    return {
        "name": deployment.name,
        "entrypoint": entrypoint_of(deployment),
        "description": deployment.description,
        "version": installed_version(),  # Prefect's default is a file digest or the current Git commit
        "tags": ["pixelmill", *deployment.tags],
        "work_pool": pool,
        "parameters": dict(deployment.parameters),
        "enforce_parameter_schema": True,
        "schedules": schedules,
    }


TABLES: tuple[tuple[str, str, Callable[[], str]], ...] = (
    ("docs/steps.md", "steps", steps_tables),
    ("docs/facts.md", "facts", facts_tables),
    ("docs/settings.md", "settings", settings_table),
    ("docs/monitoring.md", "worker", lambda: metrics_table(TABLE)),
    ("docs/monitoring.md", "fleet", lambda: metrics_table(FLEET_TABLE)),
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
