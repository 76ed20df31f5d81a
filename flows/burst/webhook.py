"""The webhook about the end of a job, signed as https://www.standardwebhooks.com describes."""

import base64
import hashlib
import hmac
import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx

from configs.reporting import PixelmillError
from configs.settings.settings import Settings
from flows.report.report import GALLERY_NAME, Summary
from flows.report.web import served_address
from storage.ledger.records import JobRecord, JobStatus
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

ATTEMPTS = 6  # over about a minute: longer than the restart of a receiver, shorter than a person waits for the flow run
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 20.0  # seconds
TIMEOUT_SECONDS = 10.0
_FINISHED = frozenset({JobStatus.DONE, JobStatus.INCOMPLETE})


class WebhookError(PixelmillError):
    """The message was not delivered; the text is the last answer."""


def event_of(job: JobRecord, summary: Summary, settings: Settings) -> dict[str, Any]:
    """Return the message: `type` is `job.finished` or `job.failed`, `data` the summary and the gallery's address."""
    gallery = served_address(open_store(job.output, settings), job_key(job.name, GALLERY_NAME), settings)
    return {
        "type": "job.finished" if summary.status in _FINISHED else "job.failed",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": summary.model_dump(mode="json") | {"name": job.name, "run": job.run, "gallery_address": gallery},
    }


def send_webhook(
    event: dict[str, Any], message_id: str, settings: Settings, *, sleep: Callable[[float], None] = time.sleep
) -> None:
    """Post the event to `PIXELMILL_WEBHOOK_URL`, if that is set; retry temporary failures for a minute.

    `message_id` is the same for each attempt, so that a receiver can ignore repetitions. With
    `PIXELMILL_WEBHOOK_SECRET` the message is signed. Raises WebhookError.
    """
    if settings.webhook_url is None:
        return
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    problem = ""
    # No redirects: the signed message is for that address and no other.
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        for attempt in range(ATTEMPTS):
            if attempt:
                sleep(random.uniform(0.5, 1) * min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt))  # noqa: S311 - no secret
            headers = {"content-type": "application/json", **_signed(message_id, body, settings)}
            try:
                # Only the status counts: reading an endless answer would hold the job's flow run.
                with client.stream("POST", settings.webhook_url, content=body, headers=headers) as answer:
                    pass
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            except httpx.InvalidURL as error:
                problem = f"PIXELMILL_WEBHOOK_URL: {error}"
                break
            if answer.is_success:
                return
            problem = f"HTTP {answer.status_code}"
            if answer.status_code < 500 and answer.status_code not in (408, 425, 429):
                break  # a refusal, which a retry does not change
    raise WebhookError(problem)


def _signed(message_id: str, body: bytes, settings: Settings) -> dict[str, str]:
    stamp = str(int(time.time()))
    headers = {"webhook-id": message_id, "webhook-timestamp": stamp}
    if settings.webhook_secret is not None:
        secret = key_of(settings.webhook_secret.get_secret_value())
        digest = hmac.digest(secret, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def key_of(secret: str) -> bytes:
    """Return the signing key: `whsec_` precedes base64, any other text is used as it is."""
    if secret.startswith("whsec_"):
        return base64.b64decode(secret.removeprefix("whsec_"))
    return secret.encode()
