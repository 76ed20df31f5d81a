"""The Jobs page: all jobs with some of their images, and the way to each one's gallery and review page.

`/jobs/JOB` is good from a job's first second: it leads to the gallery once there is one, and shows how far the job is
until then. So a list of jobs needs no look into their stores.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from configs.settings.settings import Settings
from flows.pages.page_parts import render_template
from flows.report.render import format_seconds, plural
from flows.report.report import GALLERY_NAME, REVIEW_NAME, job_path, served_path
from storage.images.thumbnails import has_thumbnail, thumbnail_key
from storage.ledger.lease import interrupted_jobs
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobSample, JobStatus, ListedJob
from storage.objects.artefacts import StoreError
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

JOBS_PER_PAGE = 1000
REFRESH_SECONDS = 15  # while a job runs
MAX_ERROR = 300  # characters
_POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "img-src 'self' data:; style-src 'unsafe-inline'"
)
HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}
INTERRUPTED = "interrupted"  # beside the states of the ledger
_SHOWN: dict[str, frozenset[str]] = {  # the states of the jobs that a link shows; none: by another condition
    "": frozenset(),
    "running": frozenset({JobStatus.RUNNING}),
    "review": frozenset(),
    "stopped": frozenset({JobStatus.FAILED, JobStatus.CANCELLED, INTERRUPTED}),
}


class JobsApi:
    """Handlers of `/`, `/jobs/JOB` and `/jobs/JOB/review`."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger, self._settings = ledger, settings

    def index(self, request: Request) -> Response:
        """Answer with the list of jobs, newest first; `?show=review` with those alone that wait for decisions."""
        page = _number(request.query_params.get("page"))
        show = request.query_params.get("show", "")
        jobs = self._ledger.lists.jobs(limit=JOBS_PER_PAGE, offset=(page - 1) * JOBS_PER_PAGE)
        states = self._states(jobs)
        groups = {name: [job for job in jobs if _belongs(job, states[job.id], name)] for name in _SHOWN}
        shown = groups.get(show, jobs)
        total = self._ledger.jobs.count()
        links = [
            _link(
                f"/?show={name}&page={page}" if name or page > 1 else "/",
                f"{_words(name)} {len(some):,}",
                current=name == show,
            )
            for name, some in groups.items()
            if some or not name or name == show
        ]
        pages = [
            _link(f"/?page={number}", words)
            for number, words in ((page - 1, "Newer jobs"), (page + 1, "Older jobs"))
            if 0 < number <= -(-total // JOBS_PER_PAGE)
        ]
        notice = "No jobs yet: “pixelmill run JOB” starts one." if not total else None if shown else "Nothing here."
        return self._answer("Jobs", shown, states, links=links, pages=pages, notice=notice)

    def job(self, request: Request) -> Response:
        """Lead to the job's gallery, or show how far the job is while there is none."""
        return self._lead(request.path_params["job"], GALLERY_NAME, "gallery")

    def review(self, request: Request) -> Response:
        """Lead to the job's review page likewise."""
        return self._lead(request.path_params["job"], REVIEW_NAME, "review page")

    def _lead(self, job_id: str, page: str, what: str) -> Response:
        found = self._ledger.lists.jobs(job_id=job_id)
        if not found:
            return PlainTextResponse("the ledger has no such job\n", status_code=404, headers=HEADERS)
        (job,) = found
        states = self._states(found)
        key = job_key(job.name, page)
        try:
            is_there = open_store(job.output, self._settings).exists(key)
        except StoreError as error:
            return PlainTextResponse(f"{error}\n", status_code=503, headers=HEADERS)
        is_running = states[job.id] == JobStatus.RUNNING.value
        if is_there and (not is_running or page == REVIEW_NAME):
            return RedirectResponse(served_path(job.output, key), status_code=307, headers=HEADERS)
        links = [_link("/", "All jobs")]
        if is_there:
            links.append(_link(served_path(job.output, key), "Gallery of the run before"))
        notice = f"There is no {what}: one is written when a run ends. “pixelmill resume {job.id}” continues the job."
        if is_running:
            notice = f"The {what} is written when the run ends; this page then leads to it."
        return self._answer(job.name, found, states, links=links, pages=[], notice=notice)

    def _states(self, jobs: Sequence[ListedJob]) -> dict[str, str]:
        interrupted = interrupted_jobs(jobs, self._ledger)
        return {job.id: INTERRUPTED if job.id in interrupted else job.status.value for job in jobs}

    def _answer(
        self, title: str, jobs: Sequence[ListedJob], states: Mapping[str, str], **values: object
    ) -> HTMLResponse:
        samples = self._ledger.lists.samples([job.id for job in jobs])
        runs = any(state == JobStatus.RUNNING.value for state in states.values())
        text = render_template(
            "jobs.html.j2",
            style="jobs.css",
            title=title,
            refresh=REFRESH_SECONDS if runs else None,
            jobs=[_view(job, states[job.id], samples.get(job.id, ())) for job in jobs],
            **values,
        )
        return HTMLResponse(text, headers=HEADERS)


def _number(text: str | None) -> int:
    """Return the number of a page, which is 1 for any other text."""
    return max(1, int(text)) if text and text.isascii() and text.isdigit() and len(text) < 7 else 1


def _link(address: str, words: str, *, current: bool = False) -> dict[str, object]:
    return {"address": address, "words": words, "current": current}


def _words(name: str) -> str:
    return {"": "All", "review": "To review"}.get(name, name.capitalize())


def _belongs(job: ListedJob, state: str, group: str) -> bool:
    if group == "review":
        return job.waiting > 0
    return not group or state in _SHOWN[group]


def _view(job: ListedJob, state: str, samples: Iterable[JobSample]) -> dict[str, Any]:
    """Return what the template shows of a job."""
    now = job.progress
    counts = {"done": now.done, "failed": now.failed, "quarantined": now.quarantined, "pending": now.pending}
    return {
        "id": job.id,
        "name": job.name,
        "state": state,
        "address": job_path(job.id),
        "review": job_path(job.id, "review"),
        "waiting": job.waiting,
        "when": f"{job.started_at:%Y-%m-%d %H:%M} UTC{_took(job)}" + (f", run {job.run}" if job.run > 1 else ""),
        "error": job.error and (job.error if len(job.error) <= MAX_ERROR else job.error[: MAX_ERROR - 1] + "…"),
        "done": plural(now.total, "image")
        if now.done == now.total
        else f"{now.done:,} of {plural(now.total, 'image')}",
        "counts": list(counts.items()),
        "samples": [_address(job, sample) for sample in samples],
    }


def _took(job: ListedJob) -> str:
    end = job.finished_at
    if end is None:
        return ""
    return f", took {format_seconds(max(0.0, (end - job.started_at).total_seconds()))}"


def _address(job: ListedJob, sample: JobSample) -> str:
    key = thumbnail_key(job.name, sample.fingerprint) if has_thumbnail(sample) else sample.key
    return served_path(job.output, key)
