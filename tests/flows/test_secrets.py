"""Secrets stay where they are given: a job with failures of many kinds, and then everything written is searched.

Recognizable secrets are in the environment and in the addresses of input images. Real parts: Prefect's server, its
workers and galleries (`pixelmill up`), an S3 server, PostgreSQL with a password, a web server with signed links.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from urllib.parse import quote, unquote, urlsplit

import httpx
import psutil
import psycopg
import pytest
from PIL import Image

from configs.settings.settings import Settings
from storage.objects.open_store import open_store
from tests.support.command import Pixelmill, Result
from tests.support.ports import free_port
from tests.support.servers.postgres import postgres_server
from tests.support.servers.s3 import S3Server, rclone_s3
from tests.support.servers.web_server import Page, make_authority, web_server
from tests.support.waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.long]

PASSWORD = "ledger/pass@word-recognizable"  # with characters that a URL has to escape
SECRETS = {
    "ledger password": PASSWORD,
    "ledger password as in the URL": quote(PASSWORD, safe=""),
    "wrong ledger password": "wrong-recognizable-0001",
    "S3 secret key": "pixelmill-test-secret-0123456789",
    "wrong S3 secret key": "wrong-s3-recognizable-0002",
    "Hugging Face token": "hf_recognizable0003",
    "Prefect API key": "pnu_recognizable0004",
    "webhook secret": "whsec-recognizable-0005",
    "webhook address": "hook-recognizable-0009",
    "some token": "token-recognizable-0006",
    "signature": "5ignature-recognizable-0007",
    "signature of a redirect": "5ignature-recognizable-0008",
}
SIGNED = f"?X-Amz-Signature={SECRETS['signature']}&X-Amz-Expires=60"

RECIPE = "name: thumb\nsteps:\n- {id: photo, step: load}\n- {id: small, step: resize, width: 16}\n"


@dataclass
class Scene:
    """What runs, and where all that is written can be found."""

    shell: Pixelmill
    ledger_url: str
    server: S3Server
    api: str
    output: str
    said: list[str] = field(default_factory=list)  # by commands
    command_lines: set[str] = field(default_factory=set)  # of processes

    def command(self, *arguments: str, **environment: str) -> Result:
        return self._heard(Pixelmill(self.shell.folder, {**self.shell.env, **environment}).here(*arguments))

    def process(self, *arguments: str, **environment: str) -> Result:
        return self._heard(Pixelmill(self.shell.folder, {**self.shell.env, **environment})(*arguments))

    def _heard(self, result: Result) -> Result:
        self.said += [result.out, result.err]
        return result


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("secrets")
    authority = make_authority(folder)
    port, gallery_port = free_port(), free_port()
    try:
        postgres = postgres_server(PASSWORD)
        ledger_url = postgres.__enter__()
    except LookupError as missing:
        pytest.skip(str(missing))
    try:
        with rclone_s3() as s3, web_server(authority) as web:
            shell = Pixelmill(
                folder,
                {
                    **s3.environment,
                    "PIXELMILL_LEDGER_URL": ledger_url,
                    "PIXELMILL_INPUT_PRIVATE_HOSTS": "true",
                    "PIXELMILL_INPUT_ATTEMPTS": "1",
                    "PIXELMILL_S3_ATTEMPTS": "1",
                    "PIXELMILL_MAX_FAILED_SHARE": "1",
                    "PIXELMILL_WEBHOOK_URL": web.url(f"/hook/{SECRETS['webhook address']}"),
                    "PIXELMILL_WEBHOOK_SECRET": SECRETS["webhook secret"],
                    "SSL_CERT_FILE": str(authority[0]),
                    "HF_TOKEN": SECRETS["Hugging Face token"],
                    "PREFECT_API_KEY": SECRETS["Prefect API key"],
                    "MY_SERVICE_TOKEN": SECRETS["some token"],
                    "PREFECT_LOGGING_LEVEL": "DEBUG",
                    "PIXELMILL_DEBUG": "1",
                },
            )
            _fill(web.pages, web.url(""))
            shell.write("recipe.yaml", RECIPE)
            shell.write("job.yaml", _job(web.url(""), f"s3://{s3.bucket}/assets"))
            scene = Scene(shell, ledger_url, s3, f"http://127.0.0.1:{port}/api", f"s3://{s3.bucket}/assets")
            with _up(scene, port, gallery_port):
                _provoke(scene, f"http://127.0.0.1:{gallery_port}")
                yield scene
    finally:
        postgres.__exit__(None, None, None)


def _fill(pages: dict[str, object], url: str) -> None:
    file = BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    pages["/sound.png"] = Page(file.getvalue())
    pages["/forbidden.png"] = Page(status=403)
    pages["/failing.png"] = Page(status=500)
    pages[f"/hook/{SECRETS['webhook address']}"] = Page(status=403)
    pages["/broken.png"] = Page(b"no image")
    pages["/around.png"] = Page(
        status=302, headers={"Location": f"{url}/gone.png?sig={SECRETS['signature of a redirect']}"}
    )


def _job(url: str, output: str) -> str:
    names = ("sound", "forbidden", "failing", "missing", "broken", "around")
    items = "".join(f"- {{name: {name}, image: '{url}/{name}.png{SIGNED}'}}\n" for name in names)
    unnamed = f"- {{image: '{url}/sound.png{SIGNED}&unnamed.v2'}}\n"
    return f"name: photos\nrecipe: ./recipe.yaml\noutput: {output}\nitems:\n{items}{unnamed}"


@contextmanager
def _up(scene: Scene, port: int, gallery_port: int) -> Iterator[None]:
    process = scene.shell.start("up", "--port", str(port), "--gallery-port", str(gallery_port))
    lines: list[str] = []
    assert process.stderr is not None
    reading = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    reading.start()
    watching = threading.Event()
    watcher = threading.Thread(target=_note_command_lines, args=(process.pid, scene, watching), daemon=True)
    watcher.start()
    try:
        wait_until(lambda: any("ready" in line for line in lines) or process.poll() is not None)
        assert process.poll() is None, lines
        yield
    finally:
        watching.set()
        process.terminate()
        process.wait(PATIENCE)
        reading.join(10)
        scene.said.append("".join(lines))


def _note_command_lines(pid: int, scene: Scene, ending: threading.Event) -> None:
    while not ending.wait(0.2):
        for each in psutil.Process(pid).children(recursive=True):
            try:
                scene.command_lines.add(" ".join(each.cmdline()))
            except psutil.NoSuchProcess:
                continue


def _provoke(scene: Scene, galleries: str) -> None:
    """A job with failures, and failures of what it needs."""
    with httpx.Client(base_url=scene.api, timeout=60) as api:
        found = api.get("/deployments/name/burst/burst").raise_for_status().json()
        run = api.post(
            f"/deployments/{found['id']}/create_flow_run",
            json={"parameters": {"job": f"{scene.shell.folder}/job.yaml"}},
        )
        path = f"/flow_runs/{run.raise_for_status().json()['id']}"
        wait_until(lambda: api.get(path).json()["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED"))
        assert api.get(path).json()["state"]["type"] == "COMPLETED", api.get(path).json()["state"]
    job = f"{scene.shell.folder}/job.yaml"
    server = {"PREFECT_API_URL": scene.api}
    assert scene.command("plan", job, **server).status == 0
    assert scene.process("run", job, "--json", **server).status == 3
    assert scene.command("status", "photos", "--json").document["items"]["failed"] == 5
    assert scene.command("verify", "photos", "--json").status == 0
    wrong = scene.ledger_url.replace(quote(PASSWORD, safe=""), SECRETS["wrong ledger password"])
    assert scene.command("status", PIXELMILL_LEDGER_URL=wrong).status == 1
    for scheme in ("postgresql+nosuch", "nosuch", "postgresql+psycopg2"):
        assert scene.command("status", PIXELMILL_LEDGER_URL=wrong.replace("postgresql", scheme)).status == 1
    nowhere = wrong.replace(f":{urlsplit(wrong).port}/", ":1/")
    assert scene.command("status", PIXELMILL_LEDGER_URL=nowhere).status == 1
    assert scene.command("status", PIXELMILL_LEDGER_URL=wrong.replace("postgresql:", "")).status == 1
    away = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1", **server}
    assert scene.command("run", job, "--json", **away).status == 1
    stranger = {"AWS_SECRET_ACCESS_KEY": SECRETS["wrong S3 secret key"], **server}
    assert scene.command("run", job, "--json", **stranger).status == 1
    assert scene.command("run", job.replace("job.yaml", "none.yaml"), **server).status == 2
    scene.said.append(httpx.get(galleries).text)


def everything(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, bytes]:
    """All that was written or can be asked for, by where it was found."""
    found: dict[str, bytes] = {"command lines": "\n".join(scene.command_lines).encode()}
    found |= {f"output {number}": text.encode() for number, text in enumerate(scene.said)}
    given = {"job.yaml", "key.pem", "authority.pem"}
    for path in scene.shell.folder.rglob("*"):
        if path.is_file() and path.name not in given:
            found[str(path.relative_to(scene.shell.folder))] = path.read_bytes()
    for name, value in scene.server.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store(scene.output, scene.server.settings())
    found |= {f"s3 {key}": store.get(key) for key, _ in store.list("")}
    found |= {f"api {path}": answer for path, answer in _answers(scene.api)}
    found |= {f"ledger {column}": text for column, text in _columns(scene.ledger_url)}
    return found


def _answers(api: str) -> Iterator[tuple[str, bytes]]:
    kinds = ("logs", "flow_runs", "task_runs", "artifacts", "deployments", "work_pools", "flows", "variables",
             "block_documents", "events")  # fmt: skip
    with httpx.Client(base_url=api, timeout=60) as client:
        for kind in kinds:
            answers = []
            for offset in range(0, 2000, 200):
                page = client.post(f"/{kind}/filter", json={"limit": 200, "offset": offset})
                if page.status_code == 422:  # of events there is no offset
                    page = client.post(f"/{kind}/filter", json={"limit": 50})
                answers.append(page.raise_for_status().content)
                if len(page.json()) < 200 or kind == "events":
                    break
            yield kind, b"\n".join(answers)
        for pool in client.post("/work_pools/filter", json={}).json():
            name = pool["name"]
            yield f"workers of {name}", client.post(f"/work_pools/{name}/workers/filter", json={}).content


def _columns(url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
        ).fetchall()
        for table, column in tables:
            rows = connection.execute(f'SELECT "{column}"::text FROM "{table}"').fetchall()  # type: ignore[call-overload]
            yield f"{table}.{column}", "\n".join(str(row[0]) for row in rows).encode()


def test_no_secret_is_written_anywhere(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    found = everything(scene, monkeypatch)
    # The search would find them: it sees what was written.
    assert b"photos" in found["api flow_runs"]
    assert b"forbidden.png" in found["ledger items.error"]
    assert any(place.startswith("s3 photos/final/") for place in found)
    assert any(place.startswith("home/logs/") for place in found)
    assert b"worker_child" in found["command lines"]
    leaks = {
        f"{name} in {place}"
        for place, content in found.items()
        for name, secret in SECRETS.items()
        if secret.encode() in content or json.dumps(secret)[1:-1].encode() in content
    }
    # The ledger alone has the addresses whole: a worker has to ask for them.
    assert leaks == {"signature in ledger items.image"}


def test_errors_still_say_where(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    errors = everything(scene, monkeypatch)["ledger items.error"].decode()
    for file, words in {
        "forbidden": "access is denied",
        "failing": "HTTP 500",
        "missing": "is not there",
        "around": "is not there",
    }.items():
        line = next(line for line in errors.splitlines() if f"/{file}.png" in line)
        assert words in line
        assert "?" not in unquote(line)


def test_an_image_without_a_name_is_called_by_its_file(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    places = everything(scene, monkeypatch)
    assert "s3 photos/final/sound-2.png" in places


def test_settings_do_not_show_secrets() -> None:
    settings = Settings(ledger_url=f"postgresql://me:{quote(PASSWORD, safe='')}@db/mill", webhook_secret="whsec-x")
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert PASSWORD not in unquote(shown)
    assert "whsec-x" not in shown
