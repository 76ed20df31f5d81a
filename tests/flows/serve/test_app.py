"""Galleries over HTTP: the files of the ledger's jobs, from each kind of store, and no other file."""

import subprocess
import sys

import pytest
from starlette.testclient import TestClient

from configs.settings.settings import Settings
from flows.report.report import root_id, served_address
from flows.serve.app import create_app
from tests.support.jobs.verified_job import IconJob

HERE = "http://testserver"


@pytest.fixture
def client(icons: IconJob) -> TestClient:
    return TestClient(create_app(icons.ledger, icons.mill.settings))


def address(icons: IconJob, key: str) -> str:
    found = served_address(icons.store, key, Settings(gallery_url=HERE))
    assert found is not None
    return found.removeprefix(HERE)


def test_gallery_finals_and_artefacts_come_from_the_store(client, icons):
    final = next(key for record in icons.ledger.items.find(icons.job.id) for key in record.finals.values())
    answer = client.get(address(icons, final))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.content == icons.store.get(final)
    artefact = next(key for key, _ in icons.store.list("artefacts/"))
    assert "immutable" in client.get(address(icons, artefact)).headers["cache-control"]


def test_a_gallery_that_was_never_written_is_told_apart_from_an_unknown_file(client, icons):
    icons.store.delete(f"{icons.job.name}/index.html")
    answer = client.get(address(icons, f"{icons.job.name}/index.html"))
    assert (answer.status_code, "no gallery here" in answer.text) == (404, True)


def test_a_job_that_begins_later_is_served_too(icons):
    client = TestClient(create_app(icons.ledger, icons.mill.settings))
    assert client.get("/files/0123456789ab/x/index.html").status_code == 404
    assert client.get(address(icons, f"{icons.job.name}/index.html")).status_code == 200


@pytest.mark.parametrize(
    "key",
    [
        "other/index.html",
        "ledger.db",
        "../ledger.db",
        "{job}/../other/x",
        "{job}/%2e%2e/%2e%2e/ledger.db",
        "{job}//etc/passwd",
        "{job}/a%00b",
        "{job}/.pixelmill-lock",
        "artefacts/../ledger.db",
        "",
    ],
)
def test_nothing_else_is_served(client, icons, key):
    icons.store.replace("other/index.html", b"not a job's", content_type="text/html")
    path = f"/files/{root_id(icons.job.output)}/{key.format(job=icons.job.name)}"
    assert client.get(path).status_code == 404


def test_health_says_whether_the_ledger_answers(client):
    assert client.get("/healthz").text == "ok\n"


def test_prometheus_is_told_how_much_waits(client):
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'pixelmill_fleet_shards{state="waiting"} 0.0' in answer.text


SERVES = """
import sys
from configs.settings.settings import Settings
from flows.serve import app
app.supervise_forever = lambda *_: print("prefect.client.orchestration" in sys.modules, flush=True)
app.serve(None, Settings(), host="127.0.0.1", port=0, supervise=True)
"""


@pytest.mark.parts
def test_prefect_is_loaded_before_the_threads_that_use_it() -> None:
    with subprocess.Popen([sys.executable, "-c", SERVES], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        said = server.stdout.readline()
        server.terminate()
    assert said == "True\n"
