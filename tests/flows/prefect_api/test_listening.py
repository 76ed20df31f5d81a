"""What listens, and who may read what is kept: looked at from outside, at running processes and their files."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from configs.settings.settings import Settings
from flows.prefect_api.server import local_server
from tests.support.command import Pixelmill
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

LOOPBACK = {"127.0.0.1", "::1"}


def listening(process: psutil.Process) -> set[tuple[str, int]]:
    """(address, port) of every TCP socket that the process and those below it listen on, and of bound UDP sockets."""
    found = set()
    for each in (process, *process.children(recursive=True)):
        try:
            for connection in each.net_connections(kind="inet"):
                if connection.status in (psutil.CONN_LISTEN, psutil.CONN_NONE) and connection.laddr:
                    found.add((connection.laddr.ip, connection.laddr.port))
        except psutil.NoSuchProcess:
            continue
    return found


@pytest.fixture
def generous() -> Iterator[None]:
    """A umask that keeps nothing from anybody; processes started in the test inherit it."""
    before = os.umask(0)
    yield
    os.umask(before)


def reachable(folder: Path) -> list[str]:
    """What group or others may read, write or enter, below a folder that they may enter."""
    found = [path for path in folder.iterdir() if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)]
    return [*map(str, found), *(name for path in found if path.is_dir() for name in reachable(path))]


@pytest.mark.usefixtures("generous")
def test_up_serves_here_only_keeps_its_state_to_itself_and_takes_everything_down(tmp_path: Path) -> None:
    shell, port, gallery_port = Pixelmill(tmp_path, makes_database=True), free_port(), free_port()
    process = shell.start("up", "--port", str(port), "--gallery-port", str(gallery_port))
    try:
        assert process.stderr is not None
        assert f"http://127.0.0.1:{port}" in next(line for line in process.stderr if "ready" in line)
        assert "<html" in httpx.get(f"http://127.0.0.1:{port}/").text
        wanted = {("127.0.0.1", port), ("127.0.0.1", gallery_port)}
        wait_until(lambda: wanted <= listening(psutil.Process(process.pid)))
        wait_until(lambda: len(_python_children(process)) >= 5)  # server, workers, the warm process, galleries
        sockets = listening(psutil.Process(process.pid))
        assert {address for address, _ in sockets} <= LOOPBACK, sockets
        assert stat.S_IMODE(shell.home.stat().st_mode) == 0o700
        assert stat.S_IMODE((shell.home / "prefect/prefect.db").stat().st_mode) == 0o600
        assert (shell.home / "logs/server.log").exists()
        family = _python_children(process)
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    assert alive == []


def _python_children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_a_page_in_a_browser_cannot_use_the_server(prefect_server: str) -> None:
    """Neither by a request across origins, nor under a name that means this machine for a moment."""
    with httpx.Client(base_url=prefect_server) as client:
        port = urlsplit(prefect_server).port
        assert client.get("/health").status_code == 200
        assert client.get("/health", headers={"Host": f"localhost:{port}"}).status_code == 200
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "", "0.0.0.0"):
            assert client.get("/health", headers={"Host": host}).status_code == 403
        asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        for origin, allowed in ((f"http://localhost:{port}", True), ("https://evil.example", False), ("null", False)):
            answer = client.options("/flow_runs/", headers={"Origin": origin, **asking})
            assert (answer.headers.get("Access-Control-Allow-Origin") == origin) is allowed
        # What a page may send without asking first. An API that reads it as JSON would do what it says.
        variable = b'{"name": "owned", "value": 1}'
        for origin in ("https://evil.example", "null", "http://127.0.0.1:1", f"http://127.0.0.1.evil.example:{port}"):
            assert client.post("/variables/", content=variable, headers={"Origin": origin}).status_code == 403
        own = {"Origin": f"http://127.0.0.1:{port}"}
        assert client.post("/variables/", json={"name": "own", "value": 1}, headers=own).status_code == 201
        assert client.post("/variables/", json={"name": "programs", "value": 1}).status_code == 201
        names = {each["name"] for each in client.post("/variables/filter", json={}).json()}
        assert {"own", "programs"} <= names and "owned" not in names
        with pytest.raises(InvalidStatus), connect(_events(prefect_server), origin="https://evil.example", proxy=None):
            pass
        with connect(_events(prefect_server), subprotocols=["prefect"], proxy=None):
            pass


def _events(url: str) -> str:
    return url.replace("http://", "ws://") + "/events/out"


def test_galleries_answer_to_this_machine_s_names_only(tmp_path: Path) -> None:
    shell, port = Pixelmill(tmp_path, {"PIXELMILL_GALLERY_URL": "https://mill.example/galleries"}), free_port()
    process = shell.start("serve", "--port", str(port))
    try:
        wait_until(lambda: process.poll() is not None or _answers(port))
        statuses = {
            host: httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": host}).status_code
            for host in ("127.0.0.1", f"localhost:{port}", "mill.example", "evil.example")
        }
        assert list(statuses.values()) == [200, 200, 200, 403], statuses
        assert {address for address, _ in listening(psutil.Process(process.pid))} == {"127.0.0.1"}
    finally:
        process.terminate()
        process.communicate(timeout=60)


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").is_success
    except httpx.TransportError:
        return False


@pytest.mark.usefixtures("generous", "without_api")
def test_state_in_a_home_that_is_open_is_closed_itself(tmp_path: Path) -> None:
    """A home that somebody made, with the rights that folders usually have."""
    home = tmp_path / "home"
    for folder in (home, home / "logs", home / "prefect"):
        folder.mkdir(mode=0o755)
    with local_server(Settings(home=home)) as url:
        port = int(url.rsplit(":", 1)[1].partition("/")[0])
        (server,) = [
            each for each in psutil.Process().children(recursive=True) if ("127.0.0.1", port) in listening(each)
        ]
        assert {address for address, _ in listening(server)} == {"127.0.0.1"}
        assert {path.name for path in home.iterdir()} == {"logs", "prefect"}
        assert reachable(home) == []
