"""A web server for tests, in a thread of this process: HTTPS with a certificate of its own authority, or plain HTTP.

It answers as its `pages` say; a page may also be a function that talks on the raw connection.
"""

import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("files.test", "other.test", "localhost")


class Page(NamedTuple):
    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = {}


@contextmanager
def handled_by(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A plain HTTP server with this handler, in a thread. Yields its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        # It looks whether it is to end between its polls, otherwise of half a second.
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()


Talk = Callable[[socket.socket], None]  # what a server that keeps no rules does with the connection


@dataclass
class WebServer:
    """`pages` by target; a list is answered page by page, its last one for ever. `requests` are those that came."""

    scheme: str
    port: int
    authority: Path | None = None
    pages: dict[str, Page | Talk | list[Page]] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    connections: int = 0
    server_names: list[str | None] = field(default_factory=list)  # as TLS clients gave them

    def url(self, target: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{target}"

    @property
    def targets(self) -> list[str]:
        return [target for target, _ in self.requests]


def make_authority(folder: Path) -> tuple[Path, Path]:
    """Files of a certificate (its own authority, for NAMES and 127.0.0.1) and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pixelmill test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [*map(x509.DNSName, NAMES), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))],
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "authority.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private


@contextmanager
def web_server(authority: tuple[Path, Path] | None = None) -> Iterator[WebServer]:
    """Serves until the context ends: HTTPS with the certificate and key given, else HTTP."""
    context = None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WebServer("https" if authority else "http", listener.getsockname()[1], authority and authority[0])
        if authority:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*authority)
            context.sni_callback = lambda _socket, name, _context: server.server_names.append(name)
        open_sockets: list[socket.socket] = []
        thread = threading.Thread(target=_accept, args=(listener, context, server, open_sockets), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in open_sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def _accept(
    listener: socket.socket, context: ssl.SSLContext | None, server: WebServer, open_sockets: list[socket.socket]
) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        server.connections += 1
        open_sockets.append(connection)
        threading.Thread(target=_serve, args=(connection, context, server), daemon=True).start()


def _serve(connection: socket.socket, context: ssl.SSLContext | None, server: WebServer) -> None:
    with suppress(OSError), connection:
        stream = context.wrap_socket(connection, server_side=True) if context else connection
        with stream, stream.makefile("rb") as reader:
            while line := reader.readline():
                target = line.split(b" ")[1].decode()
                headers = {}
                while (header := reader.readline().strip()) != b"":
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                reader.read(int(headers.get("content-length", 0)))
                server.requests.append((target, headers))
                page = _page(server, target)
                if not isinstance(page, Page):
                    page(stream)
                    return
                stream.sendall(_answer(page))


def _page(server: WebServer, target: str) -> Page | Talk:
    page = server.pages.get(target, server.pages.get(target.partition("?")[0], Page(b"nothing here", 404)))
    if isinstance(page, list):
        return page.pop(0) if len(page) > 1 else page[0]
    return page


def _answer(page: Page) -> bytes:
    headers = {"Content-Length": str(len(page.body)), **page.headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
    return f"HTTP/1.1 {page.status} Reason\r\n{lines}\r\n".encode() + page.body
