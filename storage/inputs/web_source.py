"""Input files from web servers, for jobs of untrusted origin (https://, and http:// where allowed)."""

import email.utils
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from functools import cache
from urllib.parse import urljoin

import httpcore2

from configs.documents import uris
from configs.documents.uris import WebAddress
from configs.failures import RestartPolicy
from configs.settings.access import Access
from configs.settings.settings import Settings
from storage.inputs.web_source import CheckedBackend, WebError, refuse_status, time_limit, web_errors
from storage.objects.artefacts import StoreError

_CONNECTIONS = 16
_IDLE_SECONDS = 15.0  # less than servers keep idle connections, mostly
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 30.0  # without a byte
_RETRIES = RestartPolicy(first_seconds=1.0, longest_seconds=20.0)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_USER_AGENT = "pixelmill"

logger = logging.getLogger(__name__)


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
        raise WebError(f"{shown} has {length} bytes; at most {max_bytes} are read.")
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > max_bytes:
            raise WebError(f"{shown} has more than {max_bytes} bytes, which is the most that is read.")
    return bytes(body)


def _wait(told: Mapping[str, str]) -> float | None:
    """Parse Retry-After (seconds or a date), in seconds, or return None."""
    text = told.get("retry-after", "")
    if text.isdecimal():
        return float(text[:9])
    date = email.utils.parsedate_tz(text) if text else None
    return None if date is None else max(0.0, email.utils.mktime_tz(date) - time.time())


_making = threading.Lock()


def _pool(private: bool, process: int) -> httpcore2.ConnectionPool:
    with _making:
        return _new_pool(private, process)


@cache
def _new_pool(private: bool, process: int) -> httpcore2.ConnectionPool:  # noqa: ARG001 - no connection outlives a fork
    # At its debug level the library logs the headers of answers, where a redirect's signature stands.
    for name in ("httpcore2.connection", "httpcore2.http11"):
        logging.getLogger(name).setLevel(logging.INFO)
    return httpcore2.ConnectionPool(
        max_connections=_CONNECTIONS,
        max_keepalive_connections=_CONNECTIONS,
        keepalive_expiry=_IDLE_SECONDS,
        network_backend=CheckedBackend(private=private),
    )
