"""Meaning of failures of S3: whether to try again, and what the user should change."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    ResponseStreamingError,
    SSLError,
)
from botocore.parsers import ResponseParserError

from storage.objects.artefacts import MissingObject, StoreError

_MISSING = {"NoSuchKey", "404", "NotFound"}
_CREDENTIALS = "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE"
_ADVICE = {
    "403": "access is denied: let these credentials list the bucket and get, put and delete its objects",
    "AccessDenied": "access is denied: let these credentials list the bucket and get, put and delete its objects",
    "AllAccessDisabled": "access to the bucket is disabled: ask its owner",
    "InvalidAccessKeyId": f"the server does not know the access key: {_CREDENTIALS}",
    "SignatureDoesNotMatch": f"the secret key is wrong: {_CREDENTIALS}",
    "400": f"the server refuses the request without a reason, as for a session that has expired: {_CREDENTIALS}",
    "ExpiredToken": f"the session token has expired: renew it; {_CREDENTIALS}",
    "InvalidToken": f"the session token is not valid: {_CREDENTIALS}",
    "RequestTimeTooSkewed": "this machine's clock is wrong: set it, for example with NTP",
    "NoSuchBucket": "the bucket does not exist: create it or correct its name",
    "InvalidBucketName": "the bucket's name is not valid: correct it",
    "PermanentRedirect": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "301": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "AuthorizationHeaderMalformed": "the region is wrong: set AWS_DEFAULT_REGION to the bucket's",
    "EntityTooLarge": "the object is too large for the server: lower PIXELMILL_S3_MULTIPART_MB",
    "QuotaExceeded": "the quota is used up: free space",
    "XMinioStorageFull": "the server's disk is full: free space",
    "507": "the server's disk is full: free space",
    "InsufficientStorage": "the server's disk is full: free space",
    "BadDigest": "the bytes were altered on their way: look for a faulty proxy or network",
}
# Of an answer without a body (HEAD), a status is all that is known.
_REFUSED = {
    "400",
    "403",
    "AccessDenied",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_FULL = 507
_RETRYABLE_CODES = {
    "BadDigest",
    "ConditionalRequestConflict",
    "InternalError",
    "OperationAborted",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
}
_CONNECTION = (
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ProxyConnectionError,
    ResponseStreamingError,
)
_NOT_OFFERED = {"NotImplemented", "MethodNotAllowed", "InvalidRequest"}


class CredentialsRefused(StoreError):
    """Raised if the server does not accept the credentials, or not for this request."""


def _code(error: ClientError) -> str:
    """Return the server's code (`NoSuchKey`), or the HTTP status of an answer without body (HEAD)."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: ClientError) -> bool:
    """Return whether the object is missing, or the bucket for a request about a bucket."""
    return _code(error) in _MISSING


def is_taken(error: ClientError) -> bool:
    """Return whether a conditional write came second."""
    return _status(error) == 412 or _code(error) == "ConditionalRequestConflict"


def not_offered(error: ClientError) -> bool:
    """Return whether the server lacks this operation, or this condition on it."""
    return _status(error) == 501 or _code(error) in _NOT_OFFERED


@contextmanager
def store_errors(uri: str, server: Callable[[], str]) -> Iterator[None]:
    """Convert all that boto3 raises to a StoreError about `uri`. Credentials are never part of the message."""
    try:
        yield
    except ClientError as error:
        raise _from_answer(error, uri, server()) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise StoreError(f"{uri}: no complete S3 credentials found: {_CREDENTIALS}.") from error
    except SSLError as error:
        raise StoreError(
            f"{uri}: no trusted TLS connection to {server()}: set AWS_CA_BUNDLE or correct the URL."
        ) from error
    except _CONNECTION as error:
        raise StoreError(
            f"{uri}: no answer from {server()} ({type(error).__name__}): start it, or correct AWS_ENDPOINT_URL_S3.",
            retryable=True,
        ) from error
    except ParamValidationError as error:
        raise StoreError(f"{uri}: not a valid bucket or key: {error}.") from error
    except ResponseParserError as error:
        raise no_s3_server(uri, server()) from error
    except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is not a URL
        raise StoreError(f"{uri}: {error}") from error


def _is_web_page(error: ClientError) -> bool:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("content-type", "")).startswith("text/html")


def no_s3_server(uri: str, server: str) -> StoreError:
    """Return the error of an answer that no S3 server gives, such as a web page."""
    return StoreError(f"{uri}: what answers at {server} is no S3 server: correct AWS_ENDPOINT_URL_S3.")


def _from_answer(error: ClientError, uri: str, server: str) -> StoreError:
    code, status = _code(error), _status(error)
    if code in _MISSING:
        return MissingObject(f"{uri} is not there.")
    message = str(error.response.get("Error", {}).get("Message", ""))
    advice = _ADVICE.get(code) or _ADVICE.get(str(status)) or f"{server} answered {code or status} {message}".strip()
    if _is_web_page(error) and status <= 500:  # higher ones are of gateways before a server
        return no_s3_server(uri, server)
    if code in _REFUSED:
        return CredentialsRefused(f"{uri}: {advice}.")
    passes = (status >= 500 and status != _FULL) or status == 429 or code in _RETRYABLE_CODES
    return StoreError(f"{uri}: {advice}.", retryable=passes)
