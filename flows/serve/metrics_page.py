"""The tables of metrics in docs/metrics.md: `python -m flows.serve.metrics_page` writes them anew."""

from collections.abc import Sequence
from pathlib import Path

from flows.serve.fleet_metrics import FLEET_TABLE
from gpu_worker.monitor.metric_table import TABLE, Metric

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
TABLES = {"worker": TABLE, "fleet": FLEET_TABLE}
_BEGIN, _END = "<!-- {}: begin (written by python -m flows.serve.metrics_page) -->", "<!-- {}: end -->"


def metric_table(rows: Sequence[Metric]) -> str:
    """A Markdown table: name, type, labels, meaning."""
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for row in rows:
        labels = ", ".join(f"`{label}`" for label in row.labels)
        lines.append(f"| `{row.name}` | {row.kind} | {labels} | {row.help} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with the tables between their marks."""
    for name, rows in TABLES.items():
        begin, end = _BEGIN.format(name), _END.format(name)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n{metric_table(rows)}\n{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
