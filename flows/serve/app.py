"""`pixelmill serve`: galleries, images and metrics of all jobs over HTTP, from any store; decisions of reviews.

The galleries have no login. So decisions are accepted at this machine alone: only by a server that listens at a
loopback address and is not behind a proxy (`PIXELMILL_GALLERY_URL`), for a loopback name, and from a page of its own
origin: browsers send the origin with each POST, and send JSON to other origins only after a preflight request, which
this server does not answer.
"""

import json
import mimetypes
import threading
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from flows.burst.review import decide, login_name, resume_if_decided
from flows.burst.supervisor import supervise_forever
from flows.pages.review_page import decision_row
from flows.prefect_api.served_hosts import LOOPBACK_NAMES, OnlyForThisMachine, is_loopback
from flows.report.gallery_server import recorded_address
from flows.report.report import GALLERY_NAME, root_id
from flows.serve.jobs_page import JobsApi
from flows.serve.metrics import CONTENT_TYPE, render_fleet_metrics
from gpu_worker.monitor.logs import use_logs
from storage.images.thumbnails import THUMBNAIL_TYPE, is_thumbnail_key, thumbnail_of
from storage.ledger.database import LedgerError
from storage.ledger.ledger import Ledger
from storage.ledger.records import ReviewVerdict
from storage.objects.artefacts import ArtefactStore, MissingObject, StoreError
from storage.objects.keys import fingerprint_of
from storage.objects.open_store import open_store

_ARTEFACTS = "artefacts"
_UNCHANGING = "public, max-age=31536000, immutable"  # an artefact's key is its fingerprint
MAX_BODY = 32 * 2**20  # a hundred thousand names with their fingerprints
_NO_FILE = "no job has such a file\n"
_NO_GALLERY = (  # of a job that runs or was cancelled
    "This job has no gallery here: one is written when a run of it ends.\n"
    "One that was deleted is written again by `pixelmill verify JOB --repair`.\n"
)
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}


def create_app(ledger: Ledger, settings: Settings, *, listens_here: bool = False) -> Starlette:
    """Return the app that serves the folders of the ledger's jobs and the artefacts beside them, nothing else.

    `/` lists the jobs, `/jobs/JOB` leads to a job's gallery, `/files/STORE/JOB/…` are its files, `/reviews/JOB` is for
    its review page, `/healthz` checks the ledger, and `/metrics` is for Prometheus. `listens_here`: at a loopback
    address, where decisions are accepted.
    """
    reviews, pages = ReviewApi(ledger, settings, listens_here=listens_here), JobsApi(ledger, settings)

    def health(_: Request) -> Response:
        try:
            ledger.jobs.count()
        except LedgerError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)
        return PlainTextResponse("ok\n")

    def metrics(_: Request) -> Response:
        try:
            return Response(render_fleet_metrics(ledger), media_type=CONTENT_TYPE)
        except LedgerError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)

    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/jobs/{job}", pages.job),
            Route("/jobs/{job}/review", pages.review),
            Route("/healthz", health),
            Route("/metrics", metrics),
            Route("/files/{store}/{key:path}", _Files(ledger, settings).answer),
            Route("/reviews/{job}", reviews.state),
            Route("/reviews/{job}", reviews.decide, methods=["POST"]),
        ]
    )


def serve(ledger: Ledger, settings: Settings, *, host: str, port: int, supervise: bool = False) -> None:
    """Serve until SIGINT or SIGTERM; with `supervise`, also restart bursts that are gone."""
    import uvicorn

    app: ASGIApp = create_app(ledger, settings, listens_here=is_loopback(host))
    if is_loopback(host):
        app = OnlyForThisMachine(app, behind=[settings.gallery_url])
    server = uvicorn.Server(uvicorn.Config(app, host=host, port=port, log_level="warning"))
    use_logs(settings)  # after uvicorn has set up its own
    ending = threading.Event()
    if supervise:
        # Loaded here: the threads for jobs and for decisions would deadlock in Python's import locks.
        import prefect.client.orchestration  # noqa: F401

        threading.Thread(target=supervise_forever, args=(ledger, ending), name="supervisor", daemon=True).start()
    try:
        with recorded_address(host, port, settings):
            server.run()
    finally:
        ending.set()


class _Files:
    """The public files. The ledger's list of jobs is read again only for a job that is not in it."""

    def __init__(self, ledger: Ledger, settings: Settings) -> None:
        self._ledger, self._settings = ledger, settings
        self._one_at_a_time = threading.Lock()
        self._stores: dict[str, tuple[ArtefactStore, set[str]]] = {}  # root id -> store, names of jobs

    def answer(self, request: Request) -> Response:
        """Answer with a file of a job, or an artefact."""
        key: str = request.path_params["key"]
        store = self._store(request.path_params["store"], key.partition("/")[0])
        if store is None:
            return _missing(_NO_FILE)
        try:
            data = store.get(key)
        except MissingObject:
            if (image := self._thumbnail(key, store)) is not None:
                return Response(image, media_type=THUMBNAIL_TYPE, headers={**_HEADERS, "cache-control": _UNCHANGING})
            return _missing(_NO_GALLERY if key.endswith(f"/{GALLERY_NAME}") else _NO_FILE)
        except StoreError as error:
            # Also for keys that no object can have; the message names only the requested key.
            return PlainTextResponse(f"{error}\n", status_code=503 if error.retryable else 404, headers=_HEADERS)
        kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
        caching = _UNCHANGING if key.startswith(f"{_ARTEFACTS}/") or is_thumbnail_key(key) else "no-cache"
        return Response(data, media_type=kind, headers={**_HEADERS, "cache-control": caching})

    def _thumbnail(self, key: str, store: ArtefactStore) -> bytes | None:
        """Return a thumbnail that was never stored, such as in a job of an earlier version, made from its image."""
        fingerprint = fingerprint_of(key)
        if not is_thumbnail_key(key) or not (known := self._ledger.steps.find_artefacts(store.root, [fingerprint])):
            return None
        with self._one_at_a_time:  # a large image takes a gigabyte
            return thumbnail_of(store, known[fingerprint])

    def _store(self, store_id: str, folder: str) -> ArtefactStore | None:
        if not self._knows(store_id, folder):
            self._read_jobs()
        return self._stores[store_id][0] if self._knows(store_id, folder) else None

    def _knows(self, store_id: str, folder: str) -> bool:
        return store_id in self._stores and (folder == _ARTEFACTS or folder in self._stores[store_id][1])

    def _read_jobs(self) -> None:
        for job in self._ledger.lists.jobs():
            identifier = root_id(job.output)
            if identifier not in self._stores:
                self._stores[identifier] = (open_store(job.output, self._settings), set())
            self._stores[identifier][1].add(job.name)


class _Decision(BaseModel):
    model_config = ConfigDict(extra="forbid")

    verdict: ReviewVerdict
    items: dict[str, str]  # name -> fingerprint of the image that was seen
    reason: str = Field(default="", max_length=2000)


class ReviewApi:
    """Handlers of `/reviews/JOB`. `listens_here`: the server listens at a loopback address."""

    def __init__(self, ledger: Ledger, settings: Settings, *, listens_here: bool) -> None:
        self._ledger = ledger
        behind = urlsplit(settings.gallery_url).hostname if settings.gallery_url else None
        self._decides = listens_here and behind in LOOPBACK_NAMES | {None}

    def state(self, request: Request) -> Response:
        """Answer with the job's refused images and their decisions, and whether decisions are accepted here."""
        job_id = request.path_params["job"]
        try:
            self._ledger.jobs.run_and_status(job_id)
        except LookupError:
            return _answer({"message": "the ledger has no such job"}, 404)
        reviews = {(review.item, review.fingerprint): review for review in self._ledger.reviews.all(job_id)}
        items = {
            name: [image, decision_row(reviews[name, image]) if (name, image) in reviews else None]
            for name, (image, _) in self._ledger.reviews.refused_images(job_id).items()
        }
        return _answer({"items": items, "decides": self._may_decide(request, needs_origin=False)})

    async def decide(self, request: Request) -> Response:
        """Record decisions about the images that the page showed, all or none."""
        if not self._may_decide(request, needs_origin=True):
            return _answer({"message": "decisions are accepted only at the server's machine: copy the command"}, 403)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _answer({"message": "send JSON"}, 415)
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return PlainTextResponse("too long\n", status_code=413)
        return await run_in_threadpool(self._decide, request.path_params["job"], body)

    def _decide(self, job_id: str, body: bytes) -> Response:
        try:
            wanted = _Decision.model_validate_json(body)
            self._ledger.jobs.run_and_status(job_id)
            decided = decide(
                job_id,
                wanted.items,
                wanted.verdict,
                reason=wanted.reason,
                reviewer=login_name(),
                ledger=self._ledger,
            )
        except ValidationError as error:
            return _answer({"message": f"not a decision: {json.loads(error.json(include_input=False))}"}, 400)
        except LookupError:
            return _answer({"message": "the ledger has no such job"}, 404)
        except InvalidInput as refusal:
            problems = [str(problem) for problem in refusal.problems]
            return _answer({"message": "Nothing was recorded.\n" + "\n".join(problems), "problems": problems}, 409)
        goes_on = resume_if_decided(job_id, self._ledger)
        message = f"{len(decided.items):,} {wanted.verdict.value}; {decided.waiting:,} still wait."
        if goes_on is not False:
            message += " The burst that waited goes on."
        elif wanted.verdict is ReviewVerdict.ACCEPTED and not self._ledger.reviews.waits(job_id):
            message += f" `pixelmill resume {job_id}` continues with them."
        return _answer({"message": message, "items": list(decided.items), "waiting": decided.waiting})

    def _may_decide(self, request: Request, *, needs_origin: bool) -> bool:
        host = request.headers.get("host", "")
        if not self._decides or urlsplit(f"//{host}").hostname not in LOOPBACK_NAMES:
            return False
        origin = request.headers.get("origin")
        return origin == f"{request.url.scheme}://{host}" if origin is not None or needs_origin else True


def _answer(document: dict[str, Any], status: int = 200) -> Response:
    return JSONResponse(document, status_code=status, headers={**_HEADERS, "cache-control": "no-store"})


def _missing(text: str) -> Response:
    return PlainTextResponse(text, status_code=404, headers=_HEADERS)
