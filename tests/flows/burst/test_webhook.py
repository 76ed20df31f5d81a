"""How a job's end is told: to a real receiver, which checks the signature as its specification says."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

import pytest
from pydantic import SecretStr

from configs.settings.settings import Settings
from flows.burst.publish import ATTEMPTS, WebhookError, event_of, send_webhook
from flows.report.report import ItemCounts, Summary
from storage.ledger.records import JobStatus
from storage.objects.folder_store import FolderStore
from tests.support.ledger_samples import start
from tests.support.new_ledger import new_ledger
from tests.support.servers.web_server import handled_by

SECRET = "whsec_" + base64.b64encode(b"a key of thirty-two bytes, or so").decode()
EVENT = {"type": "job.finished", "data": {"job": "jeu-d'icônes"}}


@dataclass
class Receiver:
    """Answers with the next status of `answers`, and with 204 from then on."""

    answers: list[int]
    messages: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    endless: bool = False  # sends its answer's body as long as somebody reads it


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received = Receiver([])

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.messages.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(received.answers.pop(0) if received.answers else 204)
            self.send_header("location", received.url)
            self.end_headers()
            with suppress(OSError):
                while received.endless:
                    self.wfile.write(b" ")
                    time.sleep(0.1)

        def log_message(self, *_: object) -> None:
            pass

    with handled_by(Handler) as port:
        received.url = f"http://127.0.0.1:{port}/hook"
        yield received


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, in seconds, which take no time."""
    seen: list[float] = []
    monkeypatch.setattr("tenacity.nap.time.sleep", seen.append)
    return seen


def send(receiver: Receiver, secret: str | None = SECRET) -> None:
    settings = Settings(webhook_url=receiver.url, webhook_secret=SecretStr(secret) if secret else None)
    send_webhook(EVENT, "icons-1", settings)


def signature(headers: dict[str, str], body: bytes, key: bytes) -> str:
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def test_a_message_is_signed_over_id_time_and_body(receiver, pauses):
    send(receiver)
    assert pauses == []
    ((headers, body),) = receiver.messages
    assert json.loads(body) == EVENT
    assert headers["webhook-id"] == "icons-1"
    assert headers["webhook-signature"] == signature(headers, body, b"a key of thirty-two bytes, or so")


def test_a_secret_of_any_text_signs_as_it_is(receiver):
    send(receiver, "plain words")
    ((headers, body),) = receiver.messages
    assert headers["webhook-signature"] == signature(headers, body, b"plain words")


def test_without_a_secret_nothing_is_signed(receiver):
    send(receiver, None)
    assert "webhook-signature" not in receiver.messages[0][0]


def test_a_receiver_that_stumbles_is_told_again_with_the_same_id(receiver, pauses):
    receiver.answers = [503, 429, 500]
    send(receiver)
    assert len(pauses) == 3
    assert pauses == sorted(pauses)
    assert {headers["webhook-id"] for headers, _ in receiver.messages} == {"icons-1"}


@pytest.mark.parametrize("status", [400, 404, 410, 302])
def test_a_receiver_that_says_no_is_not_asked_again(receiver, status):
    receiver.answers = [status]
    with pytest.raises(WebhookError, match=f"HTTP {status}"):
        send(receiver)
    assert len(receiver.messages) == 1


def test_a_receiver_that_is_away_is_given_up_after_a_minute(pauses):
    settings = Settings(webhook_url="http://127.0.0.1:1/hook", webhook_secret=SecretStr(SECRET))
    with pytest.raises(WebhookError, match="ConnectError") as error:
        send_webhook(EVENT, "icons-1", settings)
    assert len(pauses) == ATTEMPTS - 1
    assert 20 < sum(pauses) < 90
    assert SECRET not in str(error.value)


def test_an_address_that_is_none_is_a_message_that_nobody_took(pauses):
    with pytest.raises(WebhookError, match="PIXELMILL_WEBHOOK_URL"):
        send_webhook(EVENT, "icons-1", Settings(webhook_url="http://icons/\x01"))
    assert not pauses


@pytest.mark.timeout(120)
def test_an_answer_without_an_end_is_not_read_to_its_end(receiver):
    receiver.endless, receiver.answers = True, [200]
    send(receiver)
    assert len(receiver.messages) == 1


def test_nobody_is_told_without_an_address():
    send_webhook(EVENT, "icons-1", Settings())


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (JobStatus.DONE, "job.finished"),
        (JobStatus.INCOMPLETE, "job.finished"),
        (JobStatus.FAILED, "job.failed"),
        (JobStatus.CANCELLED, "job.failed"),
    ],
)
def test_an_event_says_how_the_job_ended(tmp_path, status, kind):
    ledger = new_ledger(tmp_path / "ledger.db")
    job = start(ledger, output=tmp_path.as_uri())
    summary = Summary(job=job.id, status=status, items=ItemCounts(total=6, done=4, failed=2))
    settings = Settings(gallery_url="https://mill.example/")
    assert event_of(job, summary, settings)["data"]["gallery_address"] is None, "there is no gallery"
    FolderStore(tmp_path).replace("foxes/index.html", b"gallery", content_type="text/html")
    event = event_of(job, summary, settings)
    assert event["type"] == kind
    assert event["data"]["items"]["failed"] == 2
    assert event["data"]["gallery_address"].startswith("https://mill.example/files/")
    assert event["data"]["gallery_address"].endswith("/foxes/index.html")
    ledger.close()
