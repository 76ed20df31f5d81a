"""What the S3 store makes of answers that no sound server gives with valid credentials: from servers made here."""

import re
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from storage.objects.artefacts import StoreError
from storage.objects.s3_errors import CredentialsRefused
from storage.objects.s3_store import S3Options, S3Store
from tests.support.servers.web_server import handled_by

EXPIRED = b"<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>"


class Server:
    """Knows one access key, and answers what it is told to."""

    def __init__(self) -> None:
        self.known, self.answer, self.body, self.port = "first", 200, b"", 0
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> S3Store:
        return S3Store("bucket", options=S3Options(endpoint_url=self.url))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server of one object, and a profile that has its key."""
    server = Server()

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            server.requests.append(self.command)
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            credential = re.search("Credential=([a-z]+)/", self.headers["Authorization"])
            is_known = credential is not None and credential[1] == server.known
            body = server.body if is_known else EXPIRED
            self.send_response(server.answer if is_known else 400)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Type", "text/html" if b"html" in body else "application/xml")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_HEAD = do_DELETE = do

        def log_message(self, *_: object) -> None:
            pass

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    write_profile(tmp_path, "first")
    with handled_by(Handler) as server.port:
        yield server


def write_profile(folder: Path, key: str) -> None:
    (folder / "credentials").write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = secret\n")


def test_keys_that_changed_in_the_profile_are_read_again(server: Server, tmp_path: Path) -> None:
    store = server.store
    store.delete("a")
    write_profile(tmp_path, "second")
    server.known = "second"
    store.delete("a")
    assert server.requests == ["DELETE"] * 3


def test_keys_that_stay_wrong_are_tried_twice_and_the_server_is_named(server: Server) -> None:
    server.known = "second"
    with pytest.raises(CredentialsRefused, match="session token has expired: renew it"):
        server.store.delete("a")
    with pytest.raises(CredentialsRefused, match="refuses the request without a reason, as for a session that has exp"):
        server.store.exists("a")
    assert server.requests.count("DELETE") == 2


def test_an_answer_that_is_not_understood_names_the_server_that_gave_it(server: Server) -> None:
    server.answer, server.body = 418, b"<Error><Code>Teapot</Code><Message>short and stout</Message></Error>"
    with pytest.raises(StoreError, match=f"{server.url} answered Teapot short and stout"):
        server.store.delete("a")


@pytest.mark.parametrize(
    ("answer", "page"),
    [(200, b"<!doctype html><title>A router</title>"), (200, b"<html><p>hello</p></html>"), (405, b"<html>no</html>")],
)
def test_a_web_page_is_no_server(server: Server, answer: int, page: bytes) -> None:
    server.answer, server.body = answer, page
    for ask in (server.store.check_writable, lambda: list(server.store.list(""))):
        with pytest.raises(StoreError, match=f"what answers at {server.url} is no S3 server: correct AWS_ENDPOINT_URL"):
            ask()


def test_a_full_disk_is_told_at_once(server: Server) -> None:
    server.answer = 507
    with pytest.raises(StoreError, match="the server's disk is full: free space"):
        server.store.check_writable()
    assert server.requests == ["PUT"]
