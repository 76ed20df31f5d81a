"""The artifact in the Prefect UI that says what deciding a job again changes."""

from prefect.artifacts import create_markdown_artifact

from configs.settings.settings import Settings
from flows.burst.artifacts import artifact_key
from flows.regate.apply import Applied
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
from flows.report.links import file_address, served_address
from flows.report.markdown import escape_markdown, table
from flows.report.report import GALLERY_NAME, MANIFEST_NAME, REVIEW_NAME
from storage.ledger.records import JobRecord
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import job_key

MAX_CHANGES = 100  # rows: Prefect keeps an artifact whole in a row of its database, and `--json` has them all
MAX_LINE = 400  # characters


def publish_regate(applied: Applied, settings: Settings, *, asked: bool) -> None:
    """Publishes it. `asked`: to apply it; without a summary it is about to be, or there was nothing to do."""
    name = applied.decided.job.name
    create_markdown_artifact(
        regate_markdown(applied, settings, asked=asked),
        key=artifact_key("regate", name),
        description=f"What deciding {escape_markdown(name)} again changes",
    )


def regate_markdown(applied: Applied, settings: Settings, *, asked: bool) -> str:
    """Counts, the recipes' differences, the items that change with before, after and reason, and where to look."""
    decided = applied.decided
    parts = [f"# {escape_markdown(decided.job.name)}: {outcome(decided)}", f"**{_standing(applied, asked=asked)}**"]
    parts.append(_places(decided.job, decided.store, settings))
    if counts := count_lines(decided):
        parts.append(_list(counts))
    differences = [f"{place}{values}" for place, values in recipe_lines(decided)]
    recipe = escape_markdown(decided.new.recipe.name)
    parts.append(f"## Recipe {recipe}\n\n" + _list([*differences, *own_lines(decided)]))
    if changed := len(decided.changed):
        shown = rows(decided, MAX_CHANGES)
        more = f", the first {len(shown)} of {changed:,}" if changed > len(shown) else ""
        parts.append(f"## What changes{more}\n\n" + table(HEADERS, shown))
        if more:
            parts.append(f"All of them: `pixelmill regate {decided.job.id} … --json`.")
    if done := applied_lines(applied):
        parts.append("## Afterwards\n\n" + _list(done))
    return "\n\n".join(part for part in parts if part) + "\n"


def _standing(applied: Applied, *, asked: bool) -> str:
    if (ended := run_line(applied)) is not None:
        return escape_markdown("".join(ended))
    if applied.decided.is_applied:
        return "Nothing to do: the job is as this recipe has it."
    steps = needs_steps(applied.decided)
    if asked:
        return "It is being applied: what is missing is made now." if steps else "It is being applied."
    how = "what is missing is made and the rest recorded" if steps else "it is recorded, and nothing has to be computed"
    return f"Nothing was changed. With Apply {how}."


def _places(job: JobRecord, store: ArtefactStore, settings: Settings) -> str:
    pages = [("Gallery", GALLERY_NAME), ("Review page", REVIEW_NAME)]
    links = [
        f"[{name}]({address})"
        for name, file in pages
        if store.exists(job_key(job.name, file))
        and (address := served_address(store, job_key(job.name, file), settings))
    ]
    if address := file_address(store, job_key(job.name, MANIFEST_NAME), settings):
        links.append(f"[Manifest]({address})")
    return " · ".join(links)


def _list(lines: list[str]) -> str:
    return "\n".join(f"* {escape_markdown(line, limit=MAX_LINE)}" for line in lines)
