"""What a job may read and write is settled before any work, all mistakes at once, each with file and line."""

import socket
from pathlib import Path

import pytest

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from flows.job.request import read_request
from storage.inputs.sources import read_item_file, read_uri
from storage.objects.artefacts import StoreError
from tests.flows.job.workspace import RECIPE, Workspace, job

SIGNATURE = "5ecre7"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Names and the address that each of them means; others are unknown."""
    known: dict[str, str] = {}

    def look_up(host: str, port: int, *_: object, **__: object) -> list[object]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def workspace(folder: Path, **settings: object) -> Workspace:
    made = Workspace(folder, **settings)
    made.write("recipes/icon.yaml", "name: icon\nsteps:\n  - {id: photo, step: load}\n")
    return made


def test_every_input_that_may_not_be_read_is_named_at_once(tmp_path: Path, no_network: dict[str, str]) -> None:
    no_network["inside.test"] = "10.0.0.7"
    no_network["files.test"] = "93.184.216.34"
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret.png").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/link.png").symlink_to(tmp_path / "outside/secret.png")
    (tmp_path / "in/own.png").touch()
    mill = workspace(tmp_path / "in", input_folders=(tmp_path / "in",), input_buckets=("icons",))
    names = [
        "own.png",
        "link.png",
        "../outside/secret.png",
        "../outside/none.png",
        "s3://icons/a.png",
        "s3://other/a.png",
        "https://files.test/a.png",
        "https://inside.test/a.png",
        "https://inside.test/b.png",
        "https://unknown.test/a.png",
        "https://127.0.0.1/a.png",
        "http://files.test/a.png",
        "https://u:p@files.test/a.png",
        "ftp://files.test/a.png",
    ]
    lines = "\n".join(f"  - {{name: i{number}, image: '{name}'}}" for number, name in enumerate(names))
    seen = mill.seen(f"name: photos\nrecipe: icon\noutput: ./out\nitems:\n{lines}\n")
    outside = f"is not in a folder that jobs may read (PIXELMILL_INPUT_FOLDERS: {tmp_path}/in)"
    assert seen == [
        "job.yaml:17: items[12].image: must not hold a user name or password (`user:password@`): use a signed link",
        "job.yaml:18: items[13].image: must be a path, an s3:// or an https:// URI, not ftp://…",
        f"job.yaml:6: items[1].image: link.png {outside}",
        # What may not be read is not looked for: these two differ in nothing that a job could learn.
        f"job.yaml:7: items[2].image: {tmp_path}/outside/secret.png {outside}",
        f"job.yaml:8: items[3].image: {tmp_path}/outside/none.png {outside}",
        "job.yaml:10: items[5].image: the bucket other is not allowed here (PIXELMILL_INPUT_BUCKETS: icons)",
        "job.yaml:15: items[10].image: 127.0.0.1 is an address of this machine or a private network "
        "(set PIXELMILL_INPUT_PRIVATE_HOSTS)",
        "job.yaml:16: items[11].image: http:// is not allowed here (PIXELMILL_INPUT_SCHEMES: file, s3, https)",
        "job.yaml:12: items[7].image: inside.test may not be asked: 10.0.0.7 is an address of this machine or a "
        "private network (set PIXELMILL_INPUT_PRIVATE_HOSTS)",
        "job.yaml:14: items[9].image: the host unknown.test is not known (Name or service not known): correct its name",
    ]


@pytest.mark.parametrize("line", ["recipe: ../outside.yaml", "items: ../outside.csv", "output: ../outside"])
def test_recipes_tables_and_outputs_are_limited_too(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "outside.yaml").write_text(RECIPE)
    (tmp_path / "outside.csv").write_text("name,prompt\na,x\n")
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    mill = workspace(tmp_path / "in", input_folders=(tmp_path / "in",), output_roots=(str(tmp_path / "in"),))
    field = line.partition(":")[0]
    (problem,) = [each for each in mill.problems(job(line)) if each.path == field]
    assert "PIXELMILL_OUTPUT_ROOTS" in problem.message or "PIXELMILL_INPUT_FOLDERS" in problem.message
    assert problem.file == f"{tmp_path}/in/job.yaml"
    assert problem.line is not None


def test_the_operators_recipes_are_no_input(tmp_path: Path) -> None:
    (tmp_path / "jobs").mkdir()
    mill = workspace(tmp_path, input_folders=(tmp_path / "jobs",))
    mill.write("jobs/a.png", "")
    mill.write("jobs/job.yaml", "name: j\nrecipe: icon\noutput: ./out\nitems: [{name: a, image: a.png}]\n")
    request = read_request(mill.folder / "jobs/job.yaml", mill.settings, read_bytes=mill.read)
    assert request.recipe.name == "icon"


def test_the_job_file_itself_is_limited(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    mill = workspace(tmp_path, input_folders=(tmp_path / "in",))
    path = mill.write("job.yaml", job())
    with pytest.raises(InvalidInput, match="is not in a folder that jobs may read"):
        read_request(path, mill.settings, read_bytes=lambda uri: read_uri(uri, mill.settings))


def test_a_file_that_is_no_job_tells_nothing_of_itself(tmp_path: Path) -> None:
    mill = workspace(tmp_path)
    path = mill.write("pgpass", "db.example:5432:mill:me:hunter2\n")
    with pytest.raises(InvalidInput) as refusal:
        read_request(path, mill.settings, read_bytes=mill.read)
    assert "hunter2" not in str(refusal.value)
    assert "must be fields" in str(refusal.value)


def test_a_worker_checks_again(tmp_path: Path) -> None:
    """Whatever the plan said: the file may be a link by now, the plan may come from elsewhere."""
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.png").write_bytes(b"pixels")
    link = tmp_path / "in/a.png"
    link.write_bytes(b"pixels")
    settings = Settings(input_folders=(tmp_path / "in",), input_buckets=("icons",))
    assert read_item_file(str(link), settings) == b"pixels"
    link.unlink()
    link.symlink_to(tmp_path / "secret.png")
    with pytest.raises(StoreError, match="is not in a folder that jobs may read"):
        read_item_file(str(link), settings)
    with pytest.raises(StoreError, match="the bucket other is not allowed here"):
        read_item_file("s3://other/a.png", settings)
    with pytest.raises(StoreError, match="PIXELMILL_INPUT_PRIVATE_HOSTS"):
        read_item_file("https://127.0.0.1/a.png", settings)


# -- web inputs ------------------------------------------------------------------------------------------------------


def test_a_job_on_the_web_names_its_neighbours(tmp_path: Path, no_network: dict[str, str]) -> None:
    no_network["files.test"] = "93.184.216.34"
    folder, query = "https://files.test/jobs/icons", f"?sig={SIGNATURE}"
    mill = workspace(tmp_path)
    pages = {
        f"{folder}/job.yaml{query}": job("items: ../items.csv", "recipe: ./icon.yaml").encode(),
        f"{folder}/icon.yaml": b"name: icon\nsteps:\n  - {id: photo, step: load}\n",
        "https://files.test/jobs/items.csv": f"name,image\na,in.png\nb,https://files.test/b.png{query}\n".encode(),
    }
    request = read_request(f"{folder}/job.yaml{query}", mill.settings, read_bytes=pages.__getitem__)
    assert [item.image for item in request.items] == [f"{folder}/in.png", f"https://files.test/b.png{query}"]


def test_no_mistake_repeats_a_signature(tmp_path: Path, no_network: dict[str, str]) -> None:
    no_network["inside.test"] = "10.0.0.7"
    query = f"?X-Amz-Signature={SIGNATURE}"
    table = f"name,image,seed\na,https://inside.test/a.png{query},x\n.,http://inside.test/b{query},-2\n"
    pages = {
        f"https://files.test/job.yaml{query}": job(
            f"items: https://files.test/items.csv{query}", f"recipe: https://files.test/none.yaml{query}"
        ).encode(),
        f"https://files.test/items.csv{query}": table.encode(),
    }

    def read(uri: str) -> bytes:
        if uri not in pages:
            raise StoreError(f"{uri.partition('?')[0]} is not there")
        return pages[uri]

    with pytest.raises(InvalidInput) as refusal:
        read_request(f"https://files.test/job.yaml{query}", workspace(tmp_path).settings, read_bytes=read)
    told = str(refusal.value)
    assert SIGNATURE not in told
    assert "https://files.test/items.csv:2: seed: must be a whole number" in told
    assert "https://files.test/job.yaml:4: recipe: cannot be read" in told


def test_an_image_without_a_name_is_not_called_by_its_signature(tmp_path: Path, no_network: dict[str, str]) -> None:
    no_network["files.test"] = "93.184.216.34"
    uri = f"https://files.test/Red-Fox.png?sig=a.{SIGNATURE}.b"
    (item,) = workspace(tmp_path).request(job(f"items: [{{image: '{uri}'}}]")).items
    assert (item.name, item.image) == ("red-fox", uri)


def test_the_revision_goes_by_the_address(tmp_path: Path, no_network: dict[str, str]) -> None:
    no_network["files.test"] = "93.184.216.34"
    mill = workspace(tmp_path)

    def revision(target: str) -> str:
        return mill.request(job(f"items: [{{name: a, image: 'https://files.test/{target}'}}]")).revision

    assert revision("a.png?v=1") == revision("a.png?v=1")
    assert len({revision("a.png?v=1"), revision("a.png?v=2"), revision("b.png?v=1")}) == 3
