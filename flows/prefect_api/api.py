"""The Prefect API that the environment or the active profile names: whether it can be used."""

import urllib.error
import urllib.request

from configs.failures import PixelmillError


class ServerError(PixelmillError):
    """No Prefect API can be used; the message names the remedy."""


def require_api() -> None:
    """Raise ServerError unless a Prefect API is configured and answers."""
    url = configured_api_url()
    if url is None:
        raise ServerError(
            "PREFECT_API_URL is not set: set it to the address of a Prefect API, as http://host:4200/api."
        )
    require_answer(url)


def configured_api_url() -> str | None:
    """Return the Prefect API of the environment or the active profile, or None; sends no request."""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url


def require_answer(url: str) -> None:
    """Raise ServerError unless the API at `url` answers, lets this client in and knows what the client sends."""
    error = health_problem(url, timeout=10)
    if error is not None:
        raise ServerError(
            f"The Prefect API at {url} does not answer ({error}). Start it, correct PREFECT_API_URL "
            "(environment or Prefect profile), or unset it: Pixelmill then starts a server of its own."
        )
    _require_access_and_version(url)


def _require_access_and_version(url: str) -> None:
    """Raise ServerError if the API refuses this client, or is of an older release than the one that the client knows.

    An older server refuses fields that it does not know, one deployment after another, with what it would take instead.
    """
    import httpx
    import prefect
    from packaging.version import Version
    from prefect.client.base import ServerType
    from prefect.client.orchestration import get_client

    try:
        with get_client(sync_client=True) as client:
            if client.server_type is ServerType.CLOUD:  # always of the newest release
                return
            found = client.api_version()
    except httpx.HTTPStatusError as error:
        if error.response.status_code not in (401, 403):
            raise
        raise ServerError(
            f"The Prefect API at {url} does not let this client in (HTTP {error.response.status_code}): set "
            "PREFECT_API_KEY, or PREFECT_API_AUTH_STRING for a server of your own."
        ) from None
    except RuntimeError as mismatch:  # of another major release, as Prefect's client finds out itself
        raise ServerError(f"The Prefect API at {url} cannot be used: {mismatch}") from None
    needed = Version(prefect.__version__)
    if Version(found).release[:2] < needed.release[:2]:
        raise ServerError(
            f"The Prefect API at {url} is release {found}; this Pixelmill needs {needed.major}.{needed.minor} or "
            "newer: upgrade the server."
        )


def health_problem(url: str, timeout: float) -> str | None:
    """Return why the API at `url` is not well within `timeout` seconds, or None."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=timeout):  # noqa: S310 - http(s) by settings
            return None
    except urllib.error.HTTPError as error:
        # An API behind a login may guard even this page, but it does answer.
        return None if error.code in (401, 403) else f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return str(getattr(error, "reason", error))
