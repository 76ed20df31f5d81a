"""An API of the user's that cannot be used is refused before anything is sent to it."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import prefect
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.prefect_api.api import ServerError, require_api
from tests.support.servers.web_server import handled_by


class Api:
    """What it answers, by path."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {"/api/health": (200, "true")}


@pytest.fixture
def api() -> Iterator[Api]:
    """An API that is well, and whose release a test sets; Prefect's settings point to it."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = api.answers.get(self.path, (404, "null"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with handled_by(Handler) as port, temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        yield api


@pytest.mark.parametrize("release", ["3.4.25", "3.6.0", "2.20.1"])
def test_an_older_release_is_refused_with_the_one_that_is_needed(api: Api, release: str) -> None:
    api.answers["/api/admin/version"] = 200, f'"{release}"'
    with pytest.raises(ServerError, match=rf"cannot be used|release {release}; .* needs 3\.\d+ or newer"):
        require_api()


@pytest.mark.parametrize("release", [prefect.__version__, "3.99.0"])
def test_its_own_release_and_newer_ones_are_taken(api: Api, release: str) -> None:
    api.answers["/api/admin/version"] = 200, f'"{release}"'
    require_api()


@pytest.mark.parametrize("status", [401, 403])
def test_an_api_that_lets_nobody_in_says_which_key_to_set(api: Api, status: int) -> None:
    api.answers["/api/admin/version"] = status, '{"detail": "Unauthorized"}'
    with pytest.raises(ServerError, match=rf"HTTP {status}\): set PREFECT_API_KEY"):
        require_api()
