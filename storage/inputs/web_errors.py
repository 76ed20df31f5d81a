"""What a failure of a web request means: whether to try again, and what a person should change."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import httpcore2

from storage.objects.artefacts import MissingObject, StoreError

_RETRYABLE = {408, 421, 425, 429}
_ADVICE = {
    401: "it asks for a login: make a link that works without one, such as a signed one",
    403: "access is denied: a signed link may have expired (make a new one), or the file is not for everybody",
    407: "a proxy asks for a login: inputs are read without proxies",
    451: "access is denied for legal reasons",
}


class WebError(StoreError):
    """A StoreError; `wait`: seconds after which the server wants to be asked again, if it said so."""

    def __init__(self, message: str, *, retryable: bool = False, wait: float | None = None) -> None:
        super().__init__(message, retryable=retryable)
        self.wait = wait


@contextmanager
def web_errors(shown: str) -> Iterator[None]:
    """Turns whatever httpcore2 raises into a WebError about the address, which is given as it may be shown."""
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
    """Raises MissingObject or WebError for any answer but 200."""
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
