"""`pixelmill regate`: its work, and what it prints for programs and for people."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem
from configs.reporting import Log
from configs.settings.settings import Settings
from flows.burst.run_job import OnStart, run_pending
from flows.regate.apply import Applied, apply
from flows.regate.recipe import NewRecipe, recipe_changes
from flows.regate.reevaluation import Change, Reevaluation, needs_of, unmeasured_of
from flows.regate.regate import RegatePlan, plan_regate
from flows.regate.words import (
    HEADERS,
    applied_lines,
    count_lines,
    needs_steps,
    outcome,
    own_lines,
    recipe_lines,
    rows,
    run_line,
)
from flows.report.render import Answer
from flows.report.report import EXIT_DONE, EXIT_ERROR, EXIT_INCOMPLETE
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemResult, ItemState, JobStatus

LISTED = 20  # changes on a terminal; `--json` has all


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
        "parameters": _own_document(plan),
        "items": {"total": len(plan.items), **{change.value: counts[change] for change in Change}},
        "steps": {
            visit_id: {"computed": need.computed, "undecided": need.undecided}
            for visit_id, need in needs_of(plan.items, plan.new.program).items()
        },
        "unmeasured": unmeasured_of(plan.items),
        "changes": [_change_document(each) for each in plan.items if each.change is not Change.UNCHANGED],
        "former_recipe": applied.former_recipe,
        "removed_finals": applied.removed,
        "run": applied.summary.model_dump(mode="json") if applied.summary is not None else None,
    }


def _own_document(plan: RegatePlan) -> dict[str, Any]:
    own = plan.own
    return {
        "kept": own.kept.model_dump(mode="json", exclude_none=True),
        "dropped": [{"place": each.path, "value": each.value, "reason": each.reason} for each in own.dropped],
        "forgotten": own.forgotten,
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
            if needs_steps(plan)
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
    ended = run_line(applied)
    if ended is None or applied.summary is None:
        return [Text("Nothing to do: the job is as this recipe has it.")]
    lines: list[RenderableType] = [Text(ended[0], "bold").append(ended[1], "default")]
    lines += [Text(f"  {line}") for line in applied_lines(applied)]
    return [*lines, *(Text(f"  {error.message}", "red") for error in applied.summary.errors)]
