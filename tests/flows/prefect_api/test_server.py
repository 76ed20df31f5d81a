"""The local server: one for all commands of a home, gone after the last of them."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest
from prefect import flow, get_run_logger
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_BATCH_INTERVAL, temporary_settings

from configs.settings.settings import Settings
from flows.prefect_api.api import ServerError
from flows.prefect_api.server import is_own, local_server
from flows.prefect_api.workers import fleet
from storage.ledger.lease import process_start
from tests.support.servers.prefect_database import give_prefect_database
from tests.support.waiting import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.long, pytest.mark.usefixtures("without_api")]


@flow
def talks() -> None:
    get_run_logger().warning("the last word")


USER = """
import sys, time
from pathlib import Path
from configs.settings.settings import Settings
from flows.prefect_api.server import local_server
with local_server(Settings(home=Path(sys.argv[1]))) as url:
    print(url, flush=True)
    time.sleep(600)
"""


def test_another_process_of_the_same_number_is_no_server(tmp_path: Path) -> None:
    """Another home's server may listen at its port by now."""
    state = tmp_path / "prefect" / "server.json"
    state.parent.mkdir()
    noted = {"pid": os.getpid(), "port": 4200, "ui": True, "start": process_start(os.getpid())}
    for start, own in ((noted["start"], True), ("1", False), ("", False)):
        state.write_text(json.dumps({**noted, "start": start}))
        assert is_own("http://127.0.0.1:4200/api", Settings(home=tmp_path)) is own


def test_server_is_shared_and_ends_with_its_last_user(tmp_path: Path) -> None:
    give_prefect_database(tmp_path)
    state = tmp_path / "prefect" / "server.json"
    # Left by a server long gone, whose number another process has by now.
    state.write_text(json.dumps({"pid": os.getpid(), "port": 1, "ui": False, "start": "1"}))
    with subprocess.Popen([sys.executable, "-c", USER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        url = user.stdout.readline().strip()
        with local_server(Settings(home=tmp_path)) as joined:
            assert joined == url
            assert is_own(url, Settings(home=tmp_path))
            assert not is_own("https://prefect.example/api", Settings(home=tmp_path))
            user.kill()
            user.wait()
            time.sleep(0.5)  # a server that hung on its starter would be gone now
            settings = json.load(urllib.request.urlopen(f"{url}/admin/settings"))["server"]
            server = psutil.Process(json.loads(state.read_text())["pid"])
            with pytest.raises(ServerError, match="runs already"), local_server(Settings(home=tmp_path), ui=True):
                pass
    assert settings["analytics_enabled"] is False
    assert settings["ui"]["enabled"] is False
    assert settings["services"]["task_run_recorder"]["batch_size"] == 200
    assert settings["services"]["task_run_recorder"]["read_batch_size"] == 200
    server.wait(PATIENCE)  # raises if it goes on


def test_requests_that_write_at_the_same_time_all_succeed(prefect_server: str) -> None:
    def beat(url: str, worker: int) -> list[int]:
        with httpx.Client(base_url=url, timeout=60) as client:  # unlike Prefect's it does not hide a 503 by waiting
            beats = (client.post("/work_pools/hasty/workers/heartbeat", json={"name": f"{worker}"}) for _ in range(25))
            return [answer.status_code for answer in beats]

    pool = {"name": "hasty", "type": "process"}
    httpx.post(f"{prefect_server}/work_pools/", json=pool).raise_for_status()
    with ThreadPoolExecutor(8) as workers:
        statuses = [status for some in workers.map(partial(beat, prefect_server), range(8)) for status in some]
    assert statuses == [204] * 200


def test_what_was_logged_last_is_sent_before_a_server_of_our_own_ends(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, device="cpu")
    give_prefect_database(tmp_path)
    with local_server(settings) as url:
        with temporary_settings({PREFECT_LOGGING_TO_API_BATCH_INTERVAL: 60}), fleet(settings, log=print):
            talks()
        messages = [line["message"] for line in httpx.post(f"{url}/logs/filter", json={}).json()]
    assert "the last word" in messages


def test_server_that_cannot_start_shows_why(tmp_path: Path) -> None:
    (tmp_path / "prefect" / "prefect.db").mkdir(parents=True)  # where the database should be
    with pytest.raises(ServerError, match=r"unable to open database file"), local_server(Settings(home=tmp_path)):
        pass
    assert not (tmp_path / "prefect" / "server.json").exists()


def test_a_damaged_database_is_named_with_what_to_do_about_it(tmp_path: Path) -> None:
    database = tmp_path / "prefect" / "prefect.db"
    database.parent.mkdir()
    database.write_bytes(b"no database " * 1000)
    refusal = r"prefect\.db cannot be used .* move the file away"
    with pytest.raises(ServerError, match=refusal) as refused, local_server(Settings(home=tmp_path)):
        pass
    assert "Traceback" not in str(refused.value) and "\n" not in str(refused.value)


def test_a_server_that_is_killed_while_it_starts_is_started_again(tmp_path: Path) -> None:
    others = psutil.Process().children()  # the tests' shared server may be one of them

    def kill_the_first() -> None:
        while True:
            for child in psutil.Process().children():
                if child not in others and "flows.prefect_api.server" in child.cmdline():
                    child.kill()
                    return

    give_prefect_database(tmp_path)
    killer = threading.Thread(target=kill_the_first)
    killer.start()
    with local_server(Settings(home=tmp_path)) as url:
        killer.join()
        assert urllib.request.urlopen(f"{url}/health").status == 200


def test_port_in_use_is_refused(tmp_path: Path, prefect_server: str) -> None:
    port = int(prefect_server.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
    with pytest.raises(ServerError, match=str(port)), local_server(Settings(home=tmp_path), port=port):
        pass


def test_the_users_own_api_comes_first(tmp_path: Path, prefect_api: str) -> None:
    with local_server(Settings(home=tmp_path)) as url:
        assert url == prefect_api
    assert not list(tmp_path.iterdir())


def test_an_api_that_does_not_answer_is_named(tmp_path: Path) -> None:
    api = "http://127.0.0.1:9/api"
    with (
        temporary_settings({PREFECT_API_URL: api}),
        pytest.raises(ServerError, match=r"127\.0\.0\.1:9/api does not answer"),
        local_server(Settings(home=tmp_path)),
    ):
        pass
