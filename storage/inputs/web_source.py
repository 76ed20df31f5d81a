"""Input files from web servers, for jobs of untrusted origin (https://, and http:// where allowed).

No connection is made to an address that jobs may not reach, and none takes too long. A host's name is looked up once
for each connection, its addresses are checked, and the connection is made to one that was checked: a name that means
another address a moment later (DNS rebinding) gains nothing. TLS and the Host header still go by the name.
"""

import email.utils
import http.client
import ipaddress
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from http import HTTPStatus
from itertools import islice
from typing import Any
from urllib.parse import urljoin

import httpcore2
from typing_extensions import override

from configs.documents import uris
from configs.documents.uris import WebAddress
from configs.failures import RestartPolicy
from configs.settings.access import IP, Access, objection_to
from configs.settings.settings import Settings
from storage.objects.artefacts import MissingObject, StoreError, TooLarge

logger = logging.getLogger(__name__)

_CONNECTIONS = 16
_IDLE_SECONDS = 15.0  # less than servers keep idle connections, mostly
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0  # without a byte
_RETRIES = RestartPolicy(first_seconds=1.0, longest_seconds=20.0)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "pixelmill"

_RETRYABLE = {408, 421, 425, 429}
_ADVICE = {
    401: "a login is required: make a link that works without one, such as a signed one",
    403: "access is denied: a signed link may have expired (make a new one), or the file is private",
    407: "a proxy requires a login: inputs are read without proxies",
    451: "access is denied for legal reasons",
}


def read_web(uri: str, settings: Settings, *, max_bytes: int) -> bytes:
    """Return the bytes at an https:// or http:// URI.

    Follows `input_redirects` redirects, each checked like the first address. Sends no credentials and no cookies, and
    goes through no proxy: behind one, the address that is reached in the end could not be checked. Tries
    `input_attempts` times what may succeed later. Raises MissingObject if nothing is there, StoreError if it may not
    be asked for, cannot be read or has more than `max_bytes`. Messages hold neither query nor fragment.
    """
    access = Access(settings)
    for attempt in range(1, settings.input_attempts + 1):
        try:
            with time_limit(settings.input_timeout):
                return _follow(uri, access, settings, max_bytes)
        except StoreError as error:
            if not error.retryable or attempt == settings.input_attempts:
                raise
            wanted = min(_RETRIES.longest_seconds, getattr(error, "wait", None) or 0.0)
            wait = max(_RETRIES.jittered_pause(attempt), wanted)
            logger.info("%s Trying again in %.1f s.", error, wait)
        time.sleep(wait)
    raise AssertionError("unreachable: the last try returns or raises")


def _follow(first: str, access: Access, settings: Settings, max_bytes: int) -> bytes:
    with _making:
        pool = _pool(settings.input_private_hosts, os.getpid())
    uri, shown = first, uris.shown(first)
    for _ in range(settings.input_redirects + 1):
        address = _checked(uri, access, shown)
        answer = _ask(pool, address, shown, max_bytes)
        if isinstance(answer, bytes):
            return answer
        uri, shown = urljoin(str(address), answer), f"{uris.shown(first)} (redirected)"
    limit = settings.input_redirects
    raise WebError(f"{shown} leads on and on, more than {limit} times: give the address where the file is.")


def _checked(uri: str, access: Access, shown: str) -> WebAddress:
    if not uris.is_web(uri):
        raise WebError(f"{shown} leads to an invalid web address.")
    try:
        address = WebAddress.parse(uri)
    except ValueError as error:
        raise WebError(f"{shown}: the address {error}.") from None
    if (objection := access.objection_to_asking(address)) is not None:
        raise WebError(f"{shown}: {objection}.")
    return address


def _ask(pool: httpcore2.ConnectionPool, address: WebAddress, shown: str, max_bytes: int) -> bytes | str:
    """Return the body, or the address that the server redirects to."""
    url = httpcore2.URL(
        scheme=address.scheme.encode(),
        host=address.host.encode(),
        port=address.port,
        target=address.target.encode(),
    )
    # Not compressed: what a server sends must not become more than it sent.
    headers = {"Host": address.authority, "User-Agent": _USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
    timeouts = {"connect": _CONNECT_SECONDS, "read": _READ_SECONDS, "write": _READ_SECONDS, "pool": _READ_SECONDS}
    with (
        web_errors(shown),
        pool.stream("GET", url, headers=list(headers.items()), extensions={"timeout": timeouts}) as answer,
    ):
        told = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status in _REDIRECTS and "location" in told:
            return told["location"]
        refuse_status(answer.status, shown, wait=_wait(told))
        if told.get("content-encoding", "identity").lower() != "identity":
            raise WebError(f"{shown} comes compressed ({told['content-encoding'][:40]!r}): store it as it is.")
        return _limited(answer.iter_stream(), shown, told, max_bytes)


def _limited(parts: Iterable[bytes], shown: str, told: Mapping[str, str], max_bytes: int) -> bytes:
    # The announced length is trusted only when it is too large.
    length = told.get("content-length", "")
    if length.isdecimal() and int(length) > max_bytes:
        raise TooLarge(f"{shown} has {length} bytes; at most {max_bytes} are read.")
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > max_bytes:
            raise TooLarge(f"{shown} has more than {max_bytes} bytes, which is the most that is read.")
    return bytes(body)


def _wait(told: Mapping[str, str]) -> float | None:
    """Parse Retry-After (seconds or a date), in seconds, or return None."""
    text = told.get("retry-after", "")
    if text.isdecimal():
        return float(text[:9])
    date = email.utils.parsedate_tz(text) if text else None
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


_making = threading.Lock()


@cache
def _pool(private: bool, process: int) -> httpcore2.ConnectionPool:  # noqa: ARG001 - no connection outlives a fork
    # At its debug level the library logs the headers of answers, where a redirect's signature stands.
    for name in ("httpcore2.connection", "httpcore2.http11"):
        logging.getLogger(name).setLevel(logging.INFO)
    return httpcore2.ConnectionPool(
        max_connections=_CONNECTIONS,
        max_keepalive_connections=_CONNECTIONS,
        keepalive_expiry=_IDLE_SECONDS,
        network_backend=CheckedBackend(private=private),
    )


# -- connections -------------------------------------------------------------------------------------------------------
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
    phrase = http.client.responses.get(status, "")
    advice = _ADVICE.get(status) or f"the server answered HTTP {status} {phrase}".rstrip()
    raise WebError(f"{shown}: {advice}.", retryable=status >= 500 or status in _RETRYABLE, wait=wait)


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
    asked = {threads.submit(_objection, host, private): host for host in islice(dict.fromkeys(hosts), MAX_HOSTS)}
    done, _ = wait(asked, timeout=_SECONDS)
    threads.shutdown(wait=False, cancel_futures=True)
    found = {host: future.result() for future, host in asked.items() if future in done}
    return {host: objection for host, objection in found.items() if objection is not None}


def _objection(host: str, private: bool) -> str | None:
    try:
        objections = [objection_to(address, private=private) for address in look_up(host, 443)]
    except WebError as error:
        return None if error.retryable else str(error).removesuffix(".")
    return None if None in objections else f"{host} may not be asked: {objections[0]}"
