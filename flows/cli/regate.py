"""`pixelmill regate`: its work, and its result for programs, for people, and for the Prefect UI."""

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict
from itertools import islice
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem
from configs.failures import Log
from configs.settings.settings import Settings
from flows.burst.run_job import OnStart, run_pending
from flows.regate.recipe import NewRecipe, recipe_changes
from flows.regate.reevaluate import Change, Reevaluation
from flows.regate.regate import Applied, RegatePlan, apply, plan_regate
from flows.report.render import Answer, format_seconds, plural
from flows.report.report import EXIT_DONE, EXIT_ERROR, EXIT_INCOMPLETE, Summary
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus

LISTED = 20  # changes on a terminal; `--json` has all
LISTED_DIFFERENCES = 20  # of the recipes
SHOWN_VISITS = 4  # that an item still needs
MOST_CHARACTERS = 160  # of a value of a recipe

NOTHING_TO_DO = "Nothing to do: the job is as this recipe has it."

COUNTED = {
    Change.QUARANTINED: "newly quarantined",
    Change.DONE: "newly done",
    Change.FAILED: "newly failed",
    Change.OTHER_FINALS: "done with another final image",
    Change.OTHER_RECORD: "the same end, for other reasons or by other steps",
    Change.TO_RUN: "steps have to run",
    Change.TO_MEASURE: "facts have to be measured",
    Change.PENDING: "not at their end yet",
}
HEADERS = ("item", "was", "becomes", "at", "why")


def regate_command(
    job_id: str,
    recipe: str | None,
    parameters: Sequence[str],
    ledger: Ledger,
    settings: Settings,
    *,
    applies: bool,
    fail_on_change: bool,
    log: Log,
    on_start: OnStart,
) -> Answer:
    """Reevaluate the job, and apply the recipe if `applies`.

    Exit status 0; 3 with `fail_on_change` if anything would change, or if an item failed in the steps that had to run;
    1 if their run stopped early.
    """
    if applies and fail_on_change:
        raise InvalidInput([Problem("--fail-on-change", "is for a look without --apply: leave one of them out")])
    wanted = NewRecipe(recipe, tuple(parameters))
    if applies:
        applied = apply(
            job_id,
            wanted,
            ledger,
            settings,
            run=lambda job, held: run_pending(job, held, ledger, settings, log, on_start),
            log=log,
        )
        status = _status_after(applied, ledger)
    else:
        applied = Applied(plan_regate(job_id, wanted, ledger, settings))
        status = EXIT_INCOMPLETE if fail_on_change and applied.plan.changed else EXIT_DONE
    return Answer(regate_document(applied, asked=applies), describe_regate(applied, asked=applies), status)


def _status_after(applied: Applied, ledger: Ledger) -> int:
    if applied.summary is None:
        return EXIT_DONE
    if applied.summary.status not in (JobStatus.DONE, JobStatus.INCOMPLETE):
        return EXIT_ERROR
    ran = {each.item.index for each in applied.plan.items if not each.change.is_settled}
    failed = {record.item.index for record in ledger.items.find(applied.plan.job.id, states=[ItemState.FAILED])}
    return EXIT_INCOMPLETE if ran & failed else EXIT_DONE


def regate_document(applied: Applied, *, asked: bool) -> dict[str, Any]:
    """Return the result as one JSON object, a stable interface: fields may be added, never renamed or removed.

    `asked`: with `--apply`. `changes` lists every changed item, in the job's order.
    """
    plan = applied.plan
    counts = Counter(each.change for each in plan.items)
    return {
        "job": plan.job.id,
        "recipe": plan.new.recipe.name,
        "revision": {"before": plan.job.revision, "after": plan.new.revision},
        "applied": asked,
        "recipe_changes": [
            {"path": path, "before": before, "after": after}
            for path, before, after in recipe_changes(plan.job.recipe, plan.new.recipe)
        ],
        "parameters": {
            "kept": plan.own.kept.model_dump(mode="json", exclude_none=True),
            "dropped": [{"place": each.path, "value": each.value, "reason": each.reason} for each in plan.own.dropped],
            "forgotten": plan.own.forgotten,
        },
        "items": {"total": len(plan.items), **{change.value: counts[change] for change in Change}},
        "steps": {visit_id: asdict(need) for visit_id, need in plan.needs().items()},
        "unmeasured": plan.unmeasured(),
        "changes": [_change_document(each) for each in plan.items if each.change is not Change.UNCHANGED],
        "former_recipe": applied.former_recipe,
        "removed_finals": applied.removed,
        "run": applied.summary.model_dump(mode="json") if applied.summary is not None else None,
    }


def _change_document(each: Reevaluation) -> dict[str, Any]:
    return {
        "index": each.item.index,
        "item": each.item.name,
        "change": each.change.value,
        "before": _result_document(each.report.record, each.images_before),
        "after": _result_document(each.result, each.images) if each.result is not None else None,
        "expected": each.expected.value if each.expected is not None else None,
        "computes": list(each.computes),
        "undecided": list(each.undecided),
        "unmeasured": {fact: list(visits) for fact, visits in each.unmeasured.items()},
    }


def _result_document(result: ItemResult, images: dict[str, str]) -> dict[str, Any]:
    return {
        "state": result.state.value,
        "step": result.error_step,
        "reason": result.error,
        "warnings": list(result.warnings),
        "finals": images,
    }


def describe_regate(applied: Applied, *, asked: bool) -> RenderableType:
    """Return the result for a person; names are never read as Rich markup."""
    plan = applied.plan
    headline = Text(plan.job.id, "bold")
    headline.append(f" · recipe {plan.new.recipe.name} · {outcome(plan)}", "default")
    parts: list[RenderableType] = [headline]
    parts += [Text(f"  {place}", "dim").append(values, "default") for place, values in recipe_lines(plan)]
    parts += [Text(f"  {line}", "yellow" if plan.own.forgotten else "default") for line in own_lines(plan)]
    parts += [Text(f"  {line}") for line in count_lines(plan)]
    if plan.changed:
        parts += ["", _table(plan)]
    if asked:
        parts += ["", *_applied(applied)]
    elif not plan.is_applied:
        how = (
            "runs what is missing and records the rest"
            if plan.needs_steps
            else "records it; nothing has to be computed"
        )
        parts += ["", Text(f"Nothing was changed. --apply {how}.")]
    return Group(*parts)


def _table(plan: RegatePlan) -> Table:
    changed = len(plan.changed)
    more = f" (the first {LISTED} of {changed:,}; --json has all)" if changed > LISTED else ""
    title = Text(f"What changes{more}", "bold")
    table = Table(box=None, pad_edge=False, header_style="dim", title=title, title_justify="left")
    wide = {"item": 2, "why": 5}
    for name in HEADERS:
        table.add_column(
            name, overflow="fold" if name in wide else "ellipsis", ratio=wide.get(name), no_wrap=name not in wide
        )
    for row in rows(plan, LISTED):
        table.add_row(*map(Text, row))
    return table


def _applied(applied: Applied) -> list[RenderableType]:
    if applied.summary is None:
        return [Text(NOTHING_TO_DO)]
    status, counts = run_line(applied.summary)
    lines: list[RenderableType] = [Text(status, "bold").append(counts, "default")]
    lines += [Text(f"  {line}") for line in applied_lines(applied)]
    return [*lines, *(Text(f"  {error.message}", "red") for error in applied.summary.errors)]


# -- lines for both the terminal and the Prefect UI --------------------------------------------------------------------


def outcome(plan: RegatePlan) -> str:
    """Return how many items stay unchanged."""
    unchanged = sum(each.change is Change.UNCHANGED for each in plan.items)
    if unchanged == len(plan.items):
        return f"nothing changes for its {plural(unchanged, 'item')}"
    return f"{unchanged:,} of {plural(len(plan.items), 'item')} unchanged"


def recipe_lines(plan: RegatePlan) -> list[tuple[str, str]]:
    """Return (path, values) of the first differences of the recipes."""
    changes = recipe_changes(plan.job.recipe, plan.new.recipe)
    if not changes:
        return [("the recipe is the job's own", "")]
    lines = [
        (f"{path}: ", f"{_value(before)} → {_value(after)}") for path, before, after in changes[:LISTED_DIFFERENCES]
    ]
    if len(changes) > LISTED_DIFFERENCES:
        lines.append((f"and {len(changes) - LISTED_DIFFERENCES:,} more differences of the recipes", ""))
    return lines


def own_lines(plan: RegatePlan) -> list[str]:
    """Return which of the job's own parameters are kept, dropped or unknown."""
    own = plan.own
    lines = []
    kept = [
        f"{step}.{name}={_value(value)}"
        for step, values in own.kept.parameters.items()
        for name, value in values.items()
    ]
    if own.kept.distinct is not None:
        kept.append(f"distinct={_value(own.kept.model_dump(mode='json')['distinct'])}")
    if kept:
        lines.append(f"as the job has set it: {', '.join(kept)}")
    lines += [f"left out, as {each.reason}: the job's {each.path}={_value(each.value)}" for each in own.dropped]
    if own.forgotten:
        lines.append(
            "which parameters the job file had set was not kept when this job was run: repeat them, "
            "or `pixelmill run` the job file once more before (images that exist are not made again)"
        )
    return lines


def count_lines(plan: RegatePlan) -> list[str]:
    """Return how many items change in which way, and what `apply` would have to compute."""
    counts = Counter(each.change for each in plan.items)
    lines = [f"{words}: {counts[change]:,}" for change, words in COUNTED.items() if counts[change]]
    for fact, images in plan.unmeasured().items():
        lines.append(f"{fact} was not measured on {plural(images, 'image')}")
    needs = plan.needs()
    for visit_id, need in needs.items():
        if need.computed:
            later = f", {need.undecided:,} that only then can be decided" if need.undecided else ""
            lines.append(f"step {visit_id}: {need.computed:,} to compute{later}")
    if later_ones := [visit_id for visit_id, need in needs.items() if not need.computed]:
        lines.append(f"only then can be decided: {_some(later_ones)}")
    return lines


def rows(plan: RegatePlan, limit: int) -> list[tuple[str, ...]]:
    """Return the first items that change, sorted by kind of change, in the order of HEADERS."""
    changed = sorted(plan.changed, key=lambda each: list(COUNTED).index(each.change))
    return [
        (
            each.item.name,
            each.report.record.state.value,
            each.expected.value if each.expected is not None else "?",
            (each.result.error_step if each.result is not None else None) or "–",
            _why(each),
        )
        for each in changed[:limit]
    ]


def applied_lines(applied: Applied) -> list[str]:
    """Return what applying the plan did, apart from the run."""
    lines = []
    if applied.removed:
        lines.append(f"former finals removed: {applied.removed:,}; their images stay stored as artefacts")
    if applied.former_recipe is not None:
        lines.append(f"the recipe until now: {applied.former_recipe}")
    return lines


def run_line(run: Summary) -> tuple[str, str]:
    """Return status and counts of the run."""
    counts = run.items
    return str(run.status), (
        f" · {counts.done:,} of {plural(counts.total, 'item')} done, {counts.quarantined:,} quarantined, "
        f"{counts.failed:,} failed, {counts.pending:,} pending · {format_seconds(run.seconds)}"
    )


def _value(value: Any) -> str:
    text = "–" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def _why(each: Reevaluation) -> str:
    before = each.report.record
    parts = []
    if each.computes:
        parts.append(f"to compute: {_some(each.computes)}")
    if each.unmeasured:
        parts.append(f"to measure: {', '.join(each.unmeasured)}")
    if each.undecided:
        parts.append(f"then decided: {_some(each.undecided)}")
    if each.result is not None and (reason := each.result.error or "; ".join(each.result.warnings)):
        parts.append(reason)
    if each.change is Change.DONE and before.error is not None:
        parts.append(f"it was: {before.error}")
    if each.change is Change.OTHER_FINALS:
        parts.append(", ".join(sorted(each.images)))
    return "; ".join(parts) or "other steps"


def _some(visits: Collection[str]) -> str:
    more = len(visits) - SHOWN_VISITS
    return ", ".join(islice(visits, SHOWN_VISITS)) + (f" and {more} more" if more > 0 else "")
