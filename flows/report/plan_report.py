"""What `pixelmill plan` prints."""

import math
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from configs.settings.settings import Settings
from flows.job.plan import Plan


def plan_document(plan: Plan, settings: Settings) -> dict[str, Any]:
    """The plan as a JSON object. `undecided`: depends on facts that are not measured yet."""
    total = len(plan.request.items)
    return {
        "job": plan.job_id,
        "status": "planned",
        "items": {"total": total, "done": plan.done, "to_do": total - plan.done},
        "steps": {step: asdict(counts) for step, counts in plan.steps.items()},
        "shards": math.ceil(total / settings.shard_size),
        "models": plan.request.model_digests,
        "output": plan.store.uri(plan.request.job.name),
    }


def render_plan(plan: Plan, settings: Settings, console: Console) -> None:
    """Prints the plan for a person."""
    document = plan_document(plan, settings)
    items = document["items"]
    console.print(f"{plan.job_id}: {items['total']} items, {items['done']} done already, {items['to_do']} to do")
    console.print(f"output: {document['output']}", highlight=False, soft_wrap=True)
    table = Table("step", "to compute", "to reuse", "to skip", "decided as it runs")
    for step, counts in plan.steps.items():
        table.add_row(step, str(counts.computed), str(counts.reused), str(counts.skipped), str(counts.undecided))
    console.print(table)
