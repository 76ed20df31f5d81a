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
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from http import HTTPStatus
from itertools import islice
from typing import Any

import httpcore2
from typing_extensions import override

from configs.settings.access import IP, objection_to
from storage.objects.artefacts import MissingObject, StoreError

_RETRYABLE = {408, 421, 425, 429}
_ADVICE = {
    401: "a login is required: make a link that works without one, such as a signed one",
    403: "access is denied: a signed link may have expired (make a new one), or the file is private",
    407: "a proxy requires a login: inputs are read without proxies",
    451: "access is denied for legal reasons",
}


class WebError(StoreError):
    """A failed web request; `wait` is the server's Retry-After in seconds, if any."""

    def __init__(self, message: str, *, retryable: bool = False, wait: float | None = None) -> None:
        super().__init__(message, retryable=retryable)
        self.wait = wait


@contextmanager
def web_errors(shown: str) -> Iterator[None]:
    """Convert all that httpcore2 raises to WebError; `shown` is the address without its secrets."""
    try:
        yield
    except httpcore2.TimeoutException as error:
        message = f"{shown} did not answer in time: try again later, or raise PIXELMILL_INPUT_TIMEOUT."
        raise WebError(message, retryable=True) from error
    except httpcore2.ConnectError as error:
        reason = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            message = f"{shown}: the server's certificate is not trusted: correct the URL, or set SSL_CERT_FILE."
            raise WebError(message) from error
        raise WebError(f"{shown}: no connection to the server ({reason}).", retryable=True) from error
    except httpcore2.LocalProtocolError as error:
        raise WebError(f"{shown} cannot be asked for: {error}.") from error
    except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise WebError(f"{shown}: the answer broke off ({error}).", retryable=True) from error


def refuse_status(status: int, shown: str, *, wait: float | None) -> None:
    """Raise MissingObject or WebError for any answer but 200."""
    if status == HTTPStatus.OK:
        return
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        raise MissingObject(f"{shown} is not there (HTTP {status}): correct the URL, or put the file there.")
    advice = _ADVICE.get(status) or f"the server answered HTTP {status} {_phrase(status)}".rstrip()
    raise WebError(f"{shown}: {advice}.", retryable=status >= 500 or status in _RETRYABLE, wait=wait)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


_deadline: ContextVar[float] = ContextVar("deadline")  # of the request in hand, on the monotonic clock


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit the total time of the block's work on these connections, in seconds.

    httpcore2 limits only each single read: a server that sends a byte now and then would hold a thread forever. The
    system's resolver limits the look-up of a name.
    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


class CheckedBackend(httpcore2.NetworkBackend):
    """A TCP backend for allowed addresses only. Use within `time_limit`."""

    def __init__(self, *, private: bool) -> None:
        """Allow connections to this machine and private networks as well, if `private`."""
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
        """Return the host's allowed addresses, the one to try first last. Raises WebError if there is none."""
        found = look_up(host, port)
        objections = {address: objection_to(address, private=self._private) for address in found}
        allowed = [str(address) for address in reversed(found) if objections[address] is None]
        if not allowed:
            raise WebError(f"{host} may not be asked: {next(iter(objections.values()))}.")
        return allowed


def look_up(host: str, port: int) -> list[IP]:
    """Return the host's distinct addresses in the order to try them. Raises WebError if there is none."""
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


MAX_HOSTS = 200  # more are left to the workers: no job may have us look up names without end
_THREADS = 16
_SECONDS = 10.0  # in all; what is not known by then is left to the workers


def host_objections(hosts: Iterable[str], *, private: bool) -> dict[str, str]:
    """Return host -> why it may not be read: all its addresses are refused, or it does not exist.

    Leaves out hosts whose look-up fails for now. Addresses are checked again on connection, as they may change.
    """
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="pixelmill-hosts")
    deadline = time.monotonic() + _SECONDS
    asked = {threads.submit(_objection, host, private): host for host in islice(dict.fromkeys(hosts), MAX_HOSTS)}
    done, _ = wait(asked, timeout=max(0.0, deadline - time.monotonic()))
    threads.shutdown(wait=False, cancel_futures=True)
    found = {host: future.result() for future, host in asked.items() if future in done}
    return {host: objection for host, objection in found.items() if objection is not None}


def _objection(host: str, private: bool) -> str | None:
    try:
        objections = [objection_to(address, private=private) for address in look_up(host, 443)]
    except WebError as error:
        return None if error.retryable else str(error).removesuffix(".")
    return None if None in objections else f"{host} may not be asked: {objections[0]}"
