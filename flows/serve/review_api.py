"""Requests of the review page to `pixelmill serve`. Decisions are accepted at this machine alone.

The galleries have no login. So decisions are accepted only by a server that listens at a loopback address and is not
behind a proxy (`PIXELMILL_GALLERY_URL`), for a loopback name, and from a page of its own origin: browsers send the
origin with each POST, and send JSON to other origins only after a preflight request, which this server does not answer.
"""

import json
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from flows.burst.review import decide, login_name, resume_if_decided
from flows.pages.review_page import decision_row
from flows.prefect_api.served_hosts import LOOPBACK_NAMES
from storage.ledger.ledger import Ledger
from storage.ledger.records import ReviewVerdict

MAX_BODY = 32 * 2**20  # a hundred thousand names with their fingerprints
_HEADERS = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "cache-control": "no-store"}


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

    def refusal(self, request: Request) -> Response | None:
        """Return the answer to a request that may not decide, before its body is read, or None if it may."""
        if not self._may_decide(request, needs_origin=True):
            return _answer({"message": "decisions are accepted only at the server's machine: copy the command"}, 403)
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return _answer({"message": "send JSON"}, 415)
        return None

    def decide(self, request: Request, body: bytes) -> Response:
        """Record decisions about the images that the page showed, all or none, after `refusal` returned None."""
        job_id = request.path_params["job"]
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
    return JSONResponse(document, status_code=status, headers=_HEADERS)
