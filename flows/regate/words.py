"""Plain text about a regate, for a terminal and for the Prefect UI."""

import json
from collections import Counter
from collections.abc import Collection
from itertools import islice
from typing import Any, NamedTuple

from flows.regate.apply import Applied
from flows.regate.recipe import recipe_changes
from flows.regate.reevaluation import Change, Reevaluation, needs_of, unmeasured_of
from flows.regate.regate import RegatePlan
from flows.report.render import format_seconds

LISTED_DIFFERENCES = 20  # of the recipes
SHOWN_VISITS = 4  # that an item still needs
MOST_CHARACTERS = 160  # of a value of a recipe

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


class ChangeRow(NamedTuple):
    """An item that changes, in the order of HEADERS."""

    item: str
    was: str
    becomes: str
    at: str
    why: str


def outcome(plan: RegatePlan) -> str:
    """Return how many items stay unchanged."""
    unchanged = sum(each.change is Change.UNCHANGED for each in plan.items)
    if unchanged == len(plan.items):
        return f"nothing changes for its {items(unchanged)}"
    return f"{unchanged:,} of {items(len(plan.items))} unchanged"


def items(count: int) -> str:
    return f"{count:,} item" if count == 1 else f"{count:,} items"


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
    for fact, images in unmeasured_of(plan.items).items():
        lines.append(f"{fact} was not measured on {images:,} {'image' if images == 1 else 'images'}")
    needs = needs_of(plan.items, plan.new.program)
    for visit_id, need in needs.items():
        if need.computed:
            later = f", {need.undecided:,} that only then can be decided" if need.undecided else ""
            lines.append(f"step {visit_id}: {need.computed:,} to compute{later}")
    if later_ones := [visit_id for visit_id, need in needs.items() if not need.computed]:
        lines.append(f"only then can be decided: {_some(later_ones)}")
    return lines


def rows(plan: RegatePlan, limit: int) -> list[ChangeRow]:
    """Return the first items that change, sorted by kind of change."""
    order = list(COUNTED)
    changed = sorted(plan.changed, key=lambda each: order.index(each.change))
    return [_row(each) for each in changed[:limit]]


def needs_steps(plan: RegatePlan) -> bool:
    """Return whether applying the plan runs or measures anything."""
    return any(not each.change.is_settled for each in plan.items)


def applied_lines(applied: Applied) -> list[str]:
    """Return what applying the plan did, apart from the run."""
    lines = []
    if applied.removed:
        lines.append(f"former finals removed: {applied.removed:,}; their images stay stored as artefacts")
    if applied.former_recipe is not None:
        lines.append(f"the recipe until now: {applied.former_recipe}")
    return lines


def run_line(applied: Applied) -> tuple[str, str] | None:
    """Return status and counts of the run, or None if there was nothing to do."""
    if applied.summary is None:
        return None
    counts = applied.summary.items
    return str(applied.summary.status), (
        f" · {counts.done:,} of {items(counts.total)} done, {counts.quarantined:,} quarantined, {counts.failed:,} "
        f"failed, {counts.pending:,} pending · {format_seconds(applied.summary.seconds)}"
    )


def _row(each: Reevaluation) -> ChangeRow:
    after = each.result
    return ChangeRow(
        each.item.name,
        each.report.record.state.value,
        each.expected.value if each.expected is not None else "?",
        (after.error_step if after is not None else None) or "–",
        _why(each),
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
    if each.reason is not None:
        parts.append(each.reason)
    if each.change is Change.DONE and before.error is not None:
        parts.append(f"it was: {before.error}")
    if each.change is Change.OTHER_FINALS:
        parts.append(", ".join(sorted(each.images)))
    return "; ".join(parts) or "other steps"


def _some(visits: Collection[str]) -> str:
    more = len(visits) - SHOWN_VISITS
    return ", ".join(islice(visits, SHOWN_VISITS)) + (f" and {more} more" if more > 0 else "")
