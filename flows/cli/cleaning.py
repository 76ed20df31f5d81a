"""Commands that remove jobs that are no longer needed, and artefacts that no job names."""

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from configs.documents.problems import InvalidInput, Problem
from flows.cli.session import AsJson, JobId, print_json, session

if TYPE_CHECKING:
    from flows.verify.prune import Unnamed

app = typer.Typer()
DAYS = 7.0


@app.command()
def forget(
    job_id: JobId,
    images: Annotated[
        bool, typer.Option("--images", help="Also remove its folder, and the artefacts that no other job names.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: AsJson = False,
) -> None:
    """Remove a job that does not run from the ledger. Its images stay, unless they are to go as well."""
    from flows.verify.prune import forget as forget_job
    from flows.verify.prune import what_goes
    from storage.objects.open_store import open_store

    with session(json) as (settings, ledger, console):
        job = ledger.jobs.find(job_id, field="id")
        store = open_store(job.output, settings)
        gone = what_goes(job, ledger, store, images=images)
        place = store.uri(job.name)
        what = f"{job.id}: its records of {job.total:,} items"
        if images:
            what += f", {len(gone.files):,} files in {place} and {len(gone.artefacts):,} artefacts"
        else:
            what += f"; its images stay in {place}"
        if not dry_run:
            _require_consent(f"Remove {what}?", yes=yes, json=json)
            gone = forget_job(job, ledger, settings, images=images)
        document = {
            "job": job.id,
            "items": job.total,
            "files": len(gone.files),
            "artefacts": len(gone.artefacts),
            "dry_run": dry_run,
        }
        if json:
            print_json(document)
        else:
            console.print(f"{'would remove' if dry_run else 'removed'} {what}", highlight=False, soft_wrap=True)


@app.command()
def prune(
    place: Annotated[str, typer.Argument(metavar="PLACE", help="An output: a folder or s3://bucket/prefix.")],
    older_than: Annotated[
        float, typer.Option(metavar="DAYS", min=0, help="Only artefacts that were written before so many days.")
    ] = DAYS,
    delete: Annotated[bool, typer.Option("--delete", help="Remove them; without it they are only counted.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where a job of another ledger has no manifest yet.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Find the artefacts in an output that no job of the ledger names, and remove them with --delete."""
    from flows.verify import prune as pruning
    from storage.objects.open_store import FileLocation, open_store, parse_location

    age = timedelta(days=older_than)
    with session(json) as (settings, ledger, console):
        location = parse_location(place)
        if isinstance(location, FileLocation) and not location.path.is_dir():
            raise InvalidInput([Problem("PLACE", f"{location.path} is not there, or is not a folder")])
        store = open_store(place, settings)
        if delete:
            found = pruning.prune(store, age, ledger, even_unreadable=force)
        else:
            found = pruning.find_unnamed(store, age, ledger)
        if json:
            print_json(_pruned_document(found, delete))
            return
        for line in _pruned_lines(found, older_than, delete):
            console.print(line, highlight=False, soft_wrap=True)


def _pruned_document(found: "Unnamed", deleted: bool) -> dict[str, Any]:
    return {
        "output": found.output,
        "artefacts": found.artefacts,
        "unnamed": len(found.old),
        "bytes": found.bytes,
        "young": found.young,
        "foreign": list(found.foreign),
        "unreadable": list(found.unreadable),
        "deleted": len(found.old) if deleted else 0,
    }


def _pruned_lines(found: "Unnamed", days: float, deleted: bool) -> list[str]:
    verb = "removed" if deleted else "named by no job of this ledger"
    lines = [f"{found.output}: {len(found.old):,} of {found.artefacts:,} artefacts {verb}, {found.bytes / 1e6:,.1f} MB"]
    if found.young:
        lines.append(f"  {found.young:,} more are younger than {days:g} days, and stay")
    if readable := [folder for folder in found.foreign if folder not in found.unreadable]:
        lines.append(f"  jobs that this ledger does not have: {', '.join(readable)}; what their manifests name stays")
    if found.unreadable:
        lines.append(
            f"  jobs of other ledgers without a manifest, which may need any of them: {', '.join(found.unreadable)}"
        )
    if found.old and not deleted:
        lines.append("  --delete removes them")
    return lines


def _require_consent(question: str, *, yes: bool, json: bool) -> None:
    """Ask the person, if there is one. Raises InvalidInput without a terminal, and typer.Abort."""
    if yes:
        return
    if json or not sys.stdin.isatty():
        raise InvalidInput([Problem("--yes", "is needed without a terminal; --dry-run shows what would go")])
    typer.confirm(question, abort=True, err=True)
