"""What only files can suffer: kills, links, file systems with less to offer."""

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from storage.objects.artefacts import ContentConflict, StoreError
from storage.objects.folder_store import FolderStore
from storage.objects.keys import sha256_hex

KILLED_WRITER = """
import os, sys, time
from pathlib import Path
from storage.objects.folder_store import FolderStore
from storage.objects.keys import sha256_hex

def hang(*arguments):  # the bytes are written, the file is not in place yet
    print("writing", flush=True)
    time.sleep(300)

os.link = os.rename = os.replace = hang
store, data = FolderStore(Path(sys.argv[1])), b"pixels" * 1000
if sys.argv[2] == "put":
    store.put("a/b.png", data, sha256=sha256_hex(data), content_type="image/png")
else:
    store.replace("a/b.png", data, content_type="image/png")
"""


@pytest.mark.parts
@pytest.mark.parametrize("verb", ["put", "replace"])
def test_a_killed_writer_leaves_nothing_visible(tmp_path: Path, verb: str) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, tmp_path, verb], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    store = FolderStore(tmp_path)
    assert not store.exists("a/b.png")
    assert list(store.list("")) == []
    assert store.put("a/b.png", b"new", sha256=sha256_hex(b"new"), content_type="image/png").created


def _put_all(folder: str, mark: str, shared: bool) -> list[str]:
    """Puts 40 keys; which of them this process won, lost or shared."""
    store, outcomes = FolderStore(Path(folder)), []
    for number in range(40):
        data = (b"same" if shared else mark.encode()) * 5000
        try:
            stored = store.put(f"k/{number}.png", data, sha256=sha256_hex(data), content_type="image/png")
            outcomes.append("won" if stored.created else "same")
        except ContentConflict:
            outcomes.append("lost")
    return outcomes


@pytest.mark.parts
@pytest.mark.parametrize("shared", [True, False])
def test_of_two_processes_with_one_key_one_wins(tmp_path: Path, shared: bool) -> None:
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        runs = [pool.submit(_put_all, str(tmp_path), mark, shared) for mark in "AB"]
        outcomes = list(zip(*(run.result() for run in runs), strict=True))
    assert {tuple(sorted(pair)) for pair in outcomes} == {("same", "won") if shared else ("lost", "won")}
    for number, pair in enumerate(outcomes):
        winner = b"same" if shared else b"AB"[pair.index("won") :][:1]
        assert (tmp_path / f"k/{number}.png").read_bytes() == winner * 5000
    assert not [path for path in (tmp_path / "k").iterdir() if path.suffix == ".tmp"]


def test_publish_links_instead_of_copying(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("a.png", b"pixels", sha256=sha256_hex(b"pixels"), content_type="image/png")
    store.publish("a.png", "job/final/fox.png", content_type="image/png")
    store.publish("a.png", "job/final/fox.png", content_type="image/png")
    assert (tmp_path / "job/final/fox.png").samefile(tmp_path / "a.png")
    assert [path.name for path in (tmp_path / "job/final").iterdir()] == ["fox.png"]


def test_a_file_system_without_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store = FolderStore(tmp_path)
    assert store.put("a.png", b"pixels", sha256=sha256_hex(b"pixels"), content_type="image/png").created
    with pytest.raises(ContentConflict):
        store.put("a.png", b"others", sha256=sha256_hex(b"others"), content_type="image/png")
    store.publish("a.png", "final/fox.png", content_type="image/png")
    assert store.get("final/fox.png") == b"pixels"
    assert sorted(key for key, _ in store.list("")) == ["a.png", "final/fox.png"]


@pytest.mark.parametrize("link", ["folder", "file"])
def test_links_out_of_the_root_are_refused(tmp_path: Path, link: str) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    outside.mkdir()
    root.mkdir()
    (outside / "secret.png").write_bytes(b"secret")
    if link == "folder":
        (root / "a").symlink_to(outside)
    else:
        (root / "a").mkdir()
        (root / "a/secret.png").symlink_to(outside / "secret.png")
    store = FolderStore(root)
    for use in (store.get, store.exists, store.delete):
        with pytest.raises(StoreError, match="symbolic link"):
            use("a/secret.png")
    with pytest.raises(StoreError, match="symbolic link"):
        store.replace("a/secret.png", b"x", content_type="image/png")
    assert (outside / "secret.png").read_bytes() == b"secret"


def test_the_root_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    store = FolderStore(tmp_path / "root")
    store.replace("a/b.png", b"pixels", content_type="image/png")
    assert store.get("a/b.png") == b"pixels"


def test_errors_say_what_to_change_and_whether_to_try_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    for number, advice, retryable in ((errno.ENOSPC, "free space", False), (errno.EIO, "error", True)):

        def fail(_: int, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match=advice) as caught:
            store.replace("a.png", b"pixels", content_type="image/png")
        assert caught.value.retryable is retryable
        assert list(tmp_path.iterdir()) == []


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"file")
    with pytest.raises(StoreError, match="move it away"):
        FolderStore(tmp_path).replace("a/b.png", b"pixels", content_type="image/png")


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        FolderStore(tmp_path).replace("a.png", b"pixels", content_type="image/png")
    finally:
        os.umask(before)
    assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o644  # a web server may read it
