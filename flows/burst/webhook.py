"""The webhook about the end of a job, signed as https://www.standardwebhooks.com describes."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import stamina

from configs.reporting import PixelmillError
from configs.settings.settings import Settings
from flows.report.report import GALLERY_NAME, Summary
from flows.report.web import served_address
from storage.ledger.records import JobRecord, JobStatus
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

ATTEMPTS = 6  # over about a minute: longer than the restart of a receiver, shorter than a person waits for the flow run
FIRST_WAIT, LONGEST_WAIT = 2.0, 20.0  # seconds; doubled after each attempt, with up to a second of jitter
TIMEOUT_SECONDS = 10.0
_FINISHED = frozenset({JobStatus.DONE, JobStatus.INCOMPLETE})


class WebhookError(PixelmillError):
    """The message was not delivered; the text is the last answer."""

    def __init__(self, problem: str, *, retryable: bool = False) -> None:
        super().__init__(problem)
        self.retryable = retryable


def event_of(job: JobRecord, summary: Summary, settings: Settings) -> dict[str, Any]:
    """Return the message: `type` is `job.finished` or `job.failed`, `data` the summary and the gallery's address."""
    gallery = served_address(open_store(job.output, settings), job_key(job.name, GALLERY_NAME), settings)
    return {
        "type": "job.finished" if summary.status in _FINISHED else "job.failed",
        "timestamp": datetime.now(UTC).isoformat(),
        "data": summary.model_dump(mode="json") | {"name": job.name, "run": job.run, "gallery_address": gallery},
    }


def send_webhook(event: dict[str, Any], message_id: str, settings: Settings) -> None:
    """Post the event to `PIXELMILL_WEBHOOK_URL`, if that is set; retry temporary failures for a minute.

    `message_id` is the same for each attempt, so that a receiver can ignore repetitions. With
    `PIXELMILL_WEBHOOK_SECRET` the message is signed. Raises WebhookError.
    """
    if settings.webhook_url is None:
        return
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    attempts = stamina.retry_context(
        on=lambda error: isinstance(error, WebhookError) and error.retryable,
        attempts=ATTEMPTS,
        timeout=None,
        wait_initial=FIRST_WAIT,
        wait_max=LONGEST_WAIT,
    )
    # No redirects: the signed message is for that address and no other.
    with httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=False) as client:
        for attempt in attempts:
            with attempt:
                headers = {"content-type": "application/json", **_signed(message_id, body, settings)}
                _post(client, settings.webhook_url, body, headers)


def _post(client: httpx.Client, url: str, body: bytes, headers: dict[str, str]) -> None:
    try:
        # Only the status counts: reading an endless answer would hold the job's flow run.
        with client.stream("POST", url, content=body, headers=headers) as answer:
            status = answer.status_code
    except httpx.TransportError as error:
        raise WebhookError(f"{type(error).__name__}: {error}", retryable=True) from error
    except httpx.InvalidURL as error:
        raise WebhookError(f"PIXELMILL_WEBHOOK_URL: {error}") from error
    if not answer.is_success:
        raise WebhookError(f"HTTP {status}", retryable=status >= 500 or status in (408, 425, 429))


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
