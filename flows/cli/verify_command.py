"""What `pixelmill verify` does with its arguments."""

from pathlib import Path

from rich.console import Console, Group
from rich.text import Text

from configs.documents.problems import InvalidInput, Problem
from configs.settings.settings import Settings
from flows.cli.repair_report import describe_mended, describe_repair, repair_document
from flows.cli.verify_progress import counted
from flows.cli.verify_report import describe_verification, verification_document
from flows.job.plan import job_identity, read_plan_request
from flows.report.answer import Answer
from flows.report.report import EXIT_DONE, EXIT_INCOMPLETE
from flows.verify.adopt import adopt_artefacts
from flows.verify.repair import Mended, repair_job
from flows.verify.verify import verify_job
from storage.ledger.job_lease import is_held
from storage.ledger.ledger import Ledger
from storage.objects.open_store import open_store


def find_job_id(wanted: str, ledger: Ledger, settings: Settings) -> str | None:
    """The id of the job that a job file describes, known to the ledger or not. None: `wanted` names no file."""
    if any(wanted in (job.id, job.name) for job in ledger.jobs()):
        return None
    if not wanted.startswith("s3://") and not Path(wanted).is_file():
        return None
    return job_identity(read_plan_request(wanted, settings), settings)


def verify_command(
    job_id: str, wanted: str, ledger: Ledger, settings: Settings, *, repair: bool, console: Console
) -> Answer:
    """Verifies the job, or repairs it. Exit status 0: nothing is wrong; 3: something is, or has to be made again.

    A job file whose job the ledger does not know is refused; but with `repair`, as after the loss of the ledger, the
    images that lie in its output are taken into the ledger.
    """
    known = next((job for job in ledger.jobs() if job.id == job_id), None)
    if known is None:
        return _adopt_only(job_id, wanted, ledger, settings, repair, console)
    store = open_store(known.output, settings)
    if repair:
        done = repair_job(
            job_id, ledger, store, settings, count=lambda text, total: counted(f"{known.name}: {text}", total, console)
        )
        status = EXIT_DONE if done.left.sound and not done.mended.reopened else EXIT_INCOMPLETE
        return Answer(repair_document(done), describe_repair(done), status)
    with counted(f"{known.name}: verifying", known.total, console) as advance:
        found = verify_job(job_id, ledger, store, running=is_held(job_id, ledger), advance=advance)
    status = EXIT_DONE if found.sound else EXIT_INCOMPLETE
    return Answer(verification_document(found), describe_verification(found), status)


def _adopt_only(job_id: str, path: str, ledger: Ledger, settings: Settings, repair: bool, console: Console) -> Answer:
    if not repair:
        message = (
            f"the ledger does not know {job_id}. If it was lost, --repair takes the images of the job's output into "
            "it, so that a run does not make them again"
        )
        raise InvalidInput([Problem("job", message)])
    request = read_plan_request(path, settings)
    store = open_store(request.output, settings)
    with counted(f"{request.job.name}: taking images into the ledger", None, console) as advance:
        adopted, not_adopted = adopt_artefacts(store, ledger, request.job.name, advance=advance)
    mended = Mended(adopted=adopted, not_adopted=not_adopted)
    hint = Text(f"The ledger does not know {job_id}: `pixelmill run {path}` goes on with it")
    document = {
        "job": job_id,
        "status": None,
        "sound": False,
        "repair": {"adopted": adopted, "not_adopted": not_adopted},
    }
    return Answer(document, Group(*describe_mended(mended), hint), EXIT_INCOMPLETE)
