"""Protection of servers on this machine: they answer only to its own names and to their own pages.

Without a login any page in a browser here could use them. A page of any origin may send a request without reading the
answer, which is enough to start a flow run with any parameters. With DNS rebinding, its own name resolves to 127.0.0.1
for a moment, and its origin is the server's; but its Host header still carries its name.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class OnlyForThisMachine:
    """ASGI app around another one that refuses requests for other hosts, and from pages of other origins.

    `behind` are URLs of the operator's proxies in front of the app: their hosts are accepted as well. Programs send no
    Origin header; only their Host header is checked.
    """

    def __init__(self, app: "ASGIApp", *, behind: Iterable[str | None] = ()) -> None:
        self._app = app
        hosts = {_authority(url)[0] for url in behind if url}
        self._proxies = {host for host in hosts if host is not None} - LOOPBACK_NAMES  # whose port must match

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        problem = self._problem(scope) if scope["type"] in ("http", "websocket") else None
        if problem is None:
            await self._app(scope, receive, send)
            return
        from starlette.responses import PlainTextResponse
        from starlette.websockets import WebSocketClose

        refusal = PlainTextResponse(problem, status_code=403) if scope["type"] == "http" else WebSocketClose(1008)
        await refusal(scope, receive, send)

    def _problem(self, scope: "Scope") -> str | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host, port = _authority(f"{scope['scheme']}://{headers.get(b'host', '')}")
        if host not in LOOPBACK_NAMES | self._proxies:
            return "this server answers to the names of its own machine only\n"
        if b"origin" not in headers:
            return None
        page, page_port = _authority(headers[b"origin"])
        # Another server on this machine has another port, and pages that may not be trusted.
        if page in self._proxies or (page in LOOPBACK_NAMES and page_port == port):
            return None
        return "this server takes nothing from pages of other origins\n"


def is_loopback(host: str) -> bool:
    """Return whether a server that listens at this address or name is reached from this machine alone."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _authority(url: str) -> tuple[str | None, int | None]:
    """Return host and port of a URL, each None if the URL has none."""
    try:
        parts = urlsplit(url)
        return parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None, None
