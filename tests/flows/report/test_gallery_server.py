"""The address of the galleries of this home: recorded by the server, found by runs while it answers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from configs.settings.settings import Settings
from flows.report.gallery_server import recorded_address, with_gallery_address


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok\n" if self.path == "/healthz" else b"something else")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def gallery_server(settings: Settings) -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Healthy)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        with recorded_address("127.0.0.1", server.server_port, settings):
            yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home")


def test_runs_find_the_server_of_their_home_while_it_answers(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert with_gallery_address(settings).gallery_url is None
    with gallery_server(settings) as port:
        assert with_gallery_address(settings).gallery_url == f"http://127.0.0.1:{port}"
    assert with_gallery_address(settings).gallery_url is None


def test_an_address_of_a_server_that_was_killed_is_not_shown(settings: Settings) -> None:
    with gallery_server(settings) as port:
        pass
    settings.home.mkdir(exist_ok=True)
    (settings.home / "galleries.url").write_text(f"http://127.0.0.1:{port}")
    assert with_gallery_address(settings).gallery_url is None


def test_an_operator_s_address_comes_first(settings: Settings) -> None:
    own = settings.model_copy(update={"gallery_url": "https://mill.example"})
    with gallery_server(settings):
        assert with_gallery_address(own) is own


@pytest.mark.parametrize(("host", "shown"), [("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")])
def test_an_address_is_one_that_a_browser_opens(settings: Settings, host: str, shown: str) -> None:
    with recorded_address(host, 4201, settings):
        assert (settings.home / "galleries.url").read_text() == f"http://{shown}:4201"
        (settings.home / "galleries.url").write_text("http://127.0.0.1:4300")  # of another server, started later
    assert (settings.home / "galleries.url").exists()
