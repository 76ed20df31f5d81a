"""The table of models that `pixelmill models list` prints."""

from typing import Any

from rich.console import Console
from rich.table import Table

from configs.catalogues.models import ModelCatalogue, ModelRef
from configs.settings.settings import Settings


def model_rows(settings: Settings) -> list[dict[str, Any]]:
    """One row for each part of each model: name, role, engine, source, license, and why it can't be used, if so."""
    catalogue = ModelCatalogue(settings)
    rows = []
    for name in catalogue.names():
        spec = catalogue.get(name)
        for role, part in spec.parts.items():
            reason = catalogue.available(ModelRef(name, role))
            rows.append(
                {
                    "model": name,
                    "role": role,
                    "engine": part.engine,
                    "source": part.source,
                    "license": spec.license,
                    "available": reason is None,
                    "reason": reason,
                }
            )
    return rows


def render_models(rows: list[dict[str, Any]], console: Console) -> None:
    """Prints the rows of `model_rows`."""
    table = Table("model", "role", "engine", "license", "ready")
    for row in rows:
        table.add_row(
            row["model"], row["role"], row["engine"], row["license"], "yes" if row["available"] else row["reason"]
        )
    console.print(table)
