"""A proxy before an S3 server that, by seeded chance, does what bad networks and overloaded stores do."""

import http.client
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random

UPSTREAM_SECONDS = 30.0
_HOP_BY_HOP = {"connection", "expect", "keep-alive", "transfer-encoding", "date", "server", "content-length"}


class Trouble(StrEnum):
    """Faults of a request."""

    THROTTLED = "throttled"  # 503 SlowDown
    FAILED = "failed"  # 500 InternalError
    RESET = "reset"  # before anything is done
    ANSWER_LOST = "answer_lost"  # it was done, without an answer
    STALLED = "stalled"  # answered, but seconds later
    TRUNCATED = "truncated"  # half the body of an answer
    BROKEN_OFF = "broken_off"  # half the body of a request


_ANY_REQUEST = (Trouble.THROTTLED, Trouble.FAILED, Trouble.RESET, Trouble.ANSWER_LOST, Trouble.STALLED)
_CODES = {
    Trouble.THROTTLED: (503, "SlowDown", "Please reduce your request rate."),
    Trouble.FAILED: (500, "InternalError", "We encountered an internal error. Please try again."),
}


class S3Proxy:
    """Passes requests on to 127.0.0.1:`upstream`, but for a `share` of them, and for all while `refusing`."""

    def __init__(
        self, upstream: int, random: Random, share: float, *, stall_seconds: tuple[float, float] = (1, 5)
    ) -> None:
        self.refusing = False  # every request is answered 403 AccessDenied
        self.requests: Counter[str] = Counter()  # by method
        self.troubles: Counter[str] = Counter()
        self.upstream = upstream
        self.stall_seconds = stall_seconds
        self._random, self._share = random, share
        self._lock = threading.Lock()

    def draw(self, method: str, has_body: bool) -> tuple[Trouble | None, float]:
        """Return the fault of the next request, and its seconds if it stalls."""
        with self._lock:
            self.requests[method] += 1
            struck, stall = self._random.random() < self._share, self._random.uniform(*self.stall_seconds)
            possible = [*_ANY_REQUEST]
            possible += [Trouble.TRUNCATED] if method == "GET" else []
            possible += [Trouble.BROKEN_OFF] if has_body else []
            trouble = self._random.choice(possible) if struck else None
            if trouble is not None:
                self.troubles[trouble] += 1
            return trouble, stall

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Yields its URL."""
        proxy = self

        class Handler(_Handler):
            rules = proxy

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, name="s3-proxy", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    rules: S3Proxy

    def do_GET(self) -> None:
        self._handle()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the counts are enough."""

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.rules.refusing:
            self._answer_error(403, "AccessDenied", "Access Denied")
            return
        trouble, stall = self.rules.draw(self.command, bool(body))
        if trouble in _CODES:
            self._answer_error(*_CODES[trouble])
        elif trouble is Trouble.RESET:
            self._reset()
        elif trouble is Trouble.BROKEN_OFF:
            self._send_half(body)
            self._reset()
        else:
            if trouble is Trouble.STALLED:
                time.sleep(stall)
            self._pass_on(body, trouble)

    def _pass_on(self, body: bytes, trouble: Trouble | None) -> None:
        upstream = http.client.HTTPConnection("127.0.0.1", self.rules.upstream, timeout=UPSTREAM_SECONDS)
        try:
            upstream.request(self.command, self.path, body=body or None, headers=self._headers(len(body)))
            response = upstream.getresponse()
            data = response.read()
        except OSError:
            self._reset()
            return
        finally:
            upstream.close()
        if trouble is Trouble.ANSWER_LOST:
            self._reset()
            return
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        length = len(data) if self.command != "HEAD" else int(response.getheader("Content-Length") or 0)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if trouble is Trouble.TRUNCATED:
            self.wfile.write(data[: len(data) // 2])
            self._reset()
            return
        self.wfile.write(data)

    def _headers(self, length: int) -> dict[str, str]:
        """Headers unchanged, Host included: the client has signed them."""
        kept = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP - {"date"}}
        return {**kept, "Content-Length": str(length)} if length or self.command in ("PUT", "POST") else kept

    def _send_half(self, body: bytes) -> None:
        """The server receives a request that is shorter than its length header."""
        with socket.create_connection(("127.0.0.1", self.rules.upstream), timeout=UPSTREAM_SECONDS) as upstream:
            head = [f"{self.command} {self.path} HTTP/1.1"]
            head += [f"{name}: {value}" for name, value in self._headers(len(body)).items()]
            upstream.sendall("\r\n".join([*head, "", ""]).encode() + body[: len(body) // 2])

    def _answer_error(self, status: int, code: str, message: str) -> None:
        text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
        data = b"" if self.command == "HEAD" else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _reset(self) -> None:
        """End the connection with RST, like a machine without it."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
