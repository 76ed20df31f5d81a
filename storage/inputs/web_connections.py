"""Connections to web hosts, none of them to an address that jobs may not reach, and none that takes too long.

A host's name is looked up once for each connection, its addresses are checked, and the connection is made to one that
was checked: a name that means another address a moment later (DNS rebinding) gains nothing. TLS and the Host header
still go by the name.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore2
from typing_extensions import override

from configs.settings.access import IP, objection_to
from storage.inputs.web_errors import WebError

_deadline: ContextVar[float] = ContextVar("deadline")  # of the request in hand, on the monotonic clock


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """All that the block does on connections made here ends within so many seconds, however slowly the server talks.

    httpcore2 limits only each single read: a server that sends a byte now and then would hold a thread for ever. Only
    looking up a name is left to the limits of the system's resolver.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class CheckedBackend(httpcore2.NetworkBackend):
    """Connects by TCP to addresses without an objection. Use within `time_limit`."""

    def __init__(self, *, private: bool) -> None:
        """`private`: to this machine and private networks, too."""
        self._private = private
        self._inner = httpcore2.SyncBackend()

    @override
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        addresses = self._addresses(host, port)
        for left, address in reversed(list(enumerate(addresses))):
            try:
                stream = self._inner.connect_tcp(address, port, _left(timeout), local_address, socket_options)
                return _LimitedStream(stream)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if not left:
                    raise
        raise AssertionError("unreachable: there is an address, and the last one's error is raised")

    def _addresses(self, host: str, port: int) -> list[str]:
        """The host's addresses that may be reached, the one to try first last. Raises WebError if there is none."""
        found = look_up(host, port)
        objections = {address: objection_to(address, private=self._private) for address in found}
        allowed = [str(address) for address in reversed(found) if objections[address] is None]
        if not allowed:
            raise WebError(f"{host} may not be asked: {next(iter(objections.values()))}.")
        return allowed


def look_up(host: str, port: int) -> list[IP]:
    """The host's addresses, each once, in the order in which to try them. Raises WebError if there is none."""
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        temporary = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
        reason = getattr(error, "strerror", None) or error
        raise WebError(f"the host {host} is not known ({reason}): correct its name.", retryable=temporary) from error
    return list(dict.fromkeys(ipaddress.ip_address(answer[4][0]) for answer in answers))


class _LimitedStream(httpcore2.NetworkStream):
    """A stream on which every operation ends by the deadline."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    @override
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    @override
    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _left(timeout))

    @override
    def close(self) -> None:
        self._inner.close()

    @override
    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _LimitedStream(self._inner.start_tls(ssl_context, server_hostname, _left(timeout)))

    @override
    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(timeout: float | None) -> float:
    """Seconds until the deadline, or `timeout` if that is sooner. Raises httpcore2.ReadTimeout when it has passed."""
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("the time for this request is up")
    return left if timeout is None else min(left, timeout)
