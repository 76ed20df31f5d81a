"""What `pixelmill status` says of jobs: the table of all, and whether one has fallen silent."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from configs.settings import Settings
from storage.ledger import Ledger
from storage.records import JobRecord, JobStatus, Progress


def is_silent(job: JobRecord, ledger: Ledger, settings: Settings) -> bool:
    """Whether the job is said to run, but no shard has given a sign of life for `settings.shard_timeout` seconds."""
    if job.status is not JobStatus.RUNNING:
        return False
    newest = max((shard.updated_at for shard in ledger.shards(job.id)), default=job.started_at)
    silence = datetime.now(UTC) - max(newest, job.started_at)
    return silence.total_seconds() > settings.shard_timeout


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
