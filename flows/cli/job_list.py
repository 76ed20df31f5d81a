"""The table of all jobs that `pixelmill status` prints."""

from rich.console import Console
from rich.table import Table

from storage.ledger.records import JobRecord, Progress


def render_jobs(rows: list[tuple[JobRecord, Progress]], console: Console) -> None:
    """Prints one row a job, newest first."""
    if not rows:
        console.print("No jobs yet: `pixelmill run JOB` starts one.")
        return
    table = Table("job", "status", "items", "done", "failed", "quarantined", "started")
    for job, progress in rows:
        table.add_row(
            job.id,
            job.status.value,
            str(progress.total),
            str(progress.done),
            str(progress.failed),
            str(progress.quarantined),
            job.started_at.strftime("%Y-%m-%d %H:%M:%S"),
        )
    console.print(table)
