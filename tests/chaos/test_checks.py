"""What the fault tests check by: a sound job is found sound, and everything that can be broken about it is seen."""

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.chaos.checks import MANIFEST, check, look
from benchmarks.chaos.journey import Stuck, wait_for_end
from benchmarks.chaos.null_job import JOB
from benchmarks.chaos.scene import Scene
from tests.support.ports import free_port
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.e2e

ITEMS = 24


@pytest.fixture(scope="module")
def scene(tmp_path_factory, prefect_server) -> Iterator[Scene]:
    environment = {"PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "sound"}
    with Scene(tmp_path_factory.mktemp("sound"), items=ITEMS, seed=1, environment=environment) as scene:
        ended = scene.run().wait(180)
        assert ended.status == 0, ended.last_words
        scene.witness.look()
        yield scene


def rows(scene: Scene) -> list[dict]:
    return [json.loads(line) for line in (scene.folder / "out" / MANIFEST).read_text().splitlines()]


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()  # a final image may be a link to the artefact, which is to stay as it is
    path.write_bytes(data)


def artefact(scene: Scene, number: int) -> Path:
    return scene.folder / "out" / rows(scene)[number]["steps"][0]["key"]


def final(scene: Scene, number: int) -> Path:
    return scene.folder / "out" / rows(scene)[number]["finals"][0]["key"]


def lose_a_final(scene: Scene) -> None:
    final(scene, 3).unlink()


def cut_an_artefact(scene: Scene) -> None:
    rewrite(artefact(scene, 3), artefact(scene, 3).read_bytes()[:-40])


def alter_a_final(scene: Scene) -> None:
    rewrite(final(scene, 3), final(scene, 3).read_bytes() + b"\n")


def swap_an_artefact(scene: Scene) -> None:
    rewrite(artefact(scene, 3), artefact(scene, 4).read_bytes())


def leave_a_stray_final(scene: Scene) -> None:
    (scene.folder / "out" / JOB / "final" / "stray.png").write_bytes(final(scene, 0).read_bytes())


def list_an_item_twice(scene: Scene) -> None:
    manifest = scene.folder / "out" / MANIFEST
    lines = manifest.read_text().splitlines()
    rewrite(manifest, "\n".join([*lines, lines[3]]).encode())


def omit_an_item(scene: Scene) -> None:
    manifest = scene.folder / "out" / MANIFEST
    rewrite(manifest, "\n".join(manifest.read_text().splitlines()[1:]).encode())


def compute_what_was_recorded(scene: Scene) -> None:
    line = json.loads(scene.compute_log.read_text().splitlines()[0]) | {"started": time.time()}
    with scene.compute_log.open("a") as log:
        log.write(json.dumps(line) + "\n")


def forget_an_item(scene: Scene) -> None:
    with closing(sqlite3.connect(scene.home / "ledger.db")) as ledger, ledger:
        ledger.execute("""UPDATE items SET state = 'pending' WHERE "index" = 3""")


BREAKAGES: dict[Callable[[Scene], None], str] = {
    lose_a_final: "is missing",
    cut_an_artefact: "OSError",
    alter_a_final: "differs from the manifest",
    swap_an_artefact: "holds another image",
    leave_a_stray_final: "is a final image of no item",
    list_an_item_twice: "more than once",
    omit_an_item: "lacks 1 items",
    compute_what_was_recorded: "computed again after they were recorded",
    forget_an_item: "'pending': 1",
}


@pytest.fixture
def breakable(scene: Scene) -> Iterator[Scene]:
    """The scene, mended afterwards."""
    folder = scene.folder / "out"
    kept = {path: path.read_bytes() for path in [*folder.rglob("*"), scene.compute_log] if path.is_file()}
    yield scene
    for path in folder.rglob("*"):
        if path.is_file() and path not in kept:
            path.unlink()
    for path, data in kept.items():
        if not path.exists() or path.read_bytes() != data:
            path.unlink(missing_ok=True)
            path.write_bytes(data)
    with closing(sqlite3.connect(scene.home / "ledger.db")) as ledger, ledger:
        ledger.execute("UPDATE items SET state = 'done'")


def test_a_sound_job_is_sound(scene: Scene):
    findings = check(scene, none_twice=True)
    assert findings.wrong == []
    assert findings.counts == {
        "jobs": 1,
        "items": ITEMS,
        "items_once_in_manifest": ITEMS,
        "objects_read": 3 * ITEMS,
        "images_computed": 2 * ITEMS,
        "computed_again_unrecorded": 0,
        "computed_again_recorded": 0,
        "verified": 1,
    }


@pytest.mark.parametrize("break_it", BREAKAGES, ids=lambda break_it: break_it.__name__)
def test_what_is_broken_is_seen(break_it: Callable[[Scene], None], breakable: Scene):
    break_it(breakable)
    assert any(BREAKAGES[break_it] in text for text in look(breakable).wrong)


def test_a_command_that_gets_nowhere_is_not_waited_for_for_ever(tmp_path):
    with Scene(tmp_path, items=1, seed=1) as scene:
        idle = scene.start("up", "--port", str(free_port()))
        with pytest.raises(Stuck):
            wait_for_end(scene, idle, patience=0)
        assert idle.process.wait(PATIENCE) == -signal.SIGKILL
