"""regate: the effect of another recipe, parameter or threshold on a job, as a form."""

from functools import partial
from pathlib import Path
from typing import Any

from prefect import State, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed
from pydantic import Field

from configs.documents.problems import InvalidInput
from configs.documents.uris import resolve
from configs.recipe.source import is_recipe_path
from configs.settings.settings import Settings
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow
from flows.burst.publish import artifact_key, links_to
from flows.cli import regate as words
from flows.forms.upkeep import JobForm, named_by_job
from flows.regate.recipe import NewRecipe, read_changes
from flows.regate.regate import Applied, RegatePlan, apply, plan_regate
from flows.report.render import escape_markdown, markdown_table
from flows.report.report import GALLERY_NAME, MANIFEST_NAME, REVIEW_NAME, Summary
from storage.ledger.ledger import Ledger

LABEL = "changes:"  # the form's field in messages about its lines
MAX_CHANGES = 100  # rows of an artifact, which Prefect stores in one database row; `--json` has them all
MAX_LINE = 400  # characters


class RegateForm(JobForm):
    """Job, recipe and changes."""

    recipe: str = Field(
        default="",
        title="Recipe",
        description="A name, a path or an s3:// URI; the job's own parameters apply. Empty: the job's own recipe.",
    )
    changes: str = Field(
        default="",
        title="Changes",
        description="One per line: a parameter as `large.scale=2`, gates as `base.require=facts.this.contrast >= 0.3`, "
        "one gate by its name as `base.require.sharp=facts.this.edge_width <= 0.06`.",
    )
    apply: bool = Field(
        default=False,
        title="Apply",
        description="Apply this recipe to the job: missing images are made on the GPU workers, the rest is recorded. "
        "Off: only show what would change.",
    )


@form_flow(
    RegateForm,
    name="regate",
    run_name=named_by_job("regate"),
    description="Decides a job's items again by another recipe or threshold, from recorded facts.",
)
def regate(form: RegateForm) -> State[Any]:
    """Return Completed after a preview, the state of the burst with `apply`, or Failed after a mistake."""
    return with_burst(partial(_regate, form))


def _regate(form: RegateForm, ledger: Ledger, settings: Settings) -> Summary | State[Any]:
    changes = tuple(line.strip() for line in form.changes.splitlines() if line.strip())
    recipe = form.recipe.strip()
    if is_recipe_path(recipe):
        recipe = resolve(recipe, str(settings.working_folder or Path.cwd()))
    wanted = NewRecipe(recipe or None, changes, LABEL)
    try:
        job = form.find_job(ledger)
    except InvalidInput as unknown:  # check the lines as well
        *_, problems = read_changes(wanted.changes, LABEL)
        raise InvalidInput([*unknown.problems, *problems]) from None
    if form.apply:
        return _apply(job.id, wanted, ledger, settings)
    plan = plan_regate(job.id, wanted, ledger, settings)
    publish_regate(Applied(plan), settings, asked=False)
    return Completed(message=f"Nothing was changed: {words.outcome(plan)}.")


def _apply(job_id: str, wanted: NewRecipe, ledger: Ledger, settings: Settings) -> Summary | State[Any]:
    def log(text: str) -> None:
        get_run_logger().info("%s", text)

    def publish_plan(plan: RegatePlan) -> None:
        log(f"{plan.job.id}: {words.outcome(plan)}")
        if not plan.is_applied:
            publish_regate(Applied(plan), settings, asked=True)

    applied = apply(
        job_id,
        wanted,
        ledger,
        settings,
        run=lambda job, held: run_burst(job, ledger, settings, held),
        log=log,
        on_plan=publish_plan,
    )
    publish_regate(applied, settings, asked=True)
    return applied.summary or Completed(message=words.NOTHING_TO_DO)


def publish_regate(applied: Applied, settings: Settings, *, asked: bool) -> None:
    """Publish the artifact. `asked`: to apply it; without a summary it is about to run, or nothing was to be done."""
    name = applied.plan.job.name
    create_markdown_artifact(
        regate_markdown(applied, settings, asked=asked),
        key=artifact_key("regate", name),
        description=f"Changes by another recipe in {escape_markdown(name)}",
    )


def regate_markdown(applied: Applied, settings: Settings, *, asked: bool) -> str:
    """Return counts, the recipes' differences, changed items with before, after and reason, and links."""
    plan = applied.plan
    parts = [f"# {escape_markdown(plan.job.name)}: {words.outcome(plan)}", f"**{_state(applied, asked=asked)}**"]
    files = {"Gallery": GALLERY_NAME, "Review page": REVIEW_NAME, "Manifest": MANIFEST_NAME}
    parts.append(" · ".join(links_to(plan.job, files, plan.store, settings)))
    if counts := words.count_lines(plan):
        parts.append(_list(counts))
    differences = [f"{place}{values}" for place, values in words.recipe_lines(plan)]
    recipe = escape_markdown(plan.new.recipe.name)
    parts.append(f"## Recipe {recipe}\n\n" + _list([*differences, *words.own_lines(plan)]))
    if changed := len(plan.changed):
        shown = words.rows(plan, MAX_CHANGES)
        more = f", the first {len(shown)} of {changed:,}" if changed > len(shown) else ""
        parts.append(f"## What changes{more}\n\n" + markdown_table(words.HEADERS, shown))
        if more:
            parts.append(f"All of them: `pixelmill regate {plan.job.id} … --json`.")
    if done := words.applied_lines(applied):
        parts.append("## Afterwards\n\n" + _list(done))
    return "\n\n".join(part for part in parts if part) + "\n"


def _state(applied: Applied, *, asked: bool) -> str:
    if applied.summary is not None:
        return escape_markdown("".join(words.run_line(applied.summary)))
    if applied.plan.is_applied:
        return words.NOTHING_TO_DO
    steps = applied.plan.needs_steps
    if asked:
        return "It is being applied: missing images are made now." if steps else "It is being applied."
    how = "missing images are made and the rest is recorded" if steps else "it is recorded; nothing has to be computed"
    return f"Nothing was changed. With Apply {how}."


def _list(lines: list[str]) -> str:
    return "\n".join(f"* {escape_markdown(line, limit=MAX_LINE)}" for line in lines)
