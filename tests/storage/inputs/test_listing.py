"""Listing of folders and of buckets' prefixes."""

from pathlib import Path

import pytest

from configs.settings.settings import Settings
from storage.inputs.listing import list_files
from storage.objects.keys import sha256_hex
from storage.objects.open_store import open_store
from tests.support.servers.s3 import S3Server

FILES = ("a.png", "b/c.png", "b/.hidden/d.png", ".DS_Store")


def test_a_folder_is_listed_as_deep_as_the_glob_looks(tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert list_files(str(tmp_path), "*", Settings()) == (str(tmp_path), ("a.png",), ("b",))
    assert list_files(str(tmp_path), "**/*", Settings()).paths == ("a.png", "b/c.png")
    assert list_files(str(tmp_path), "**/*", Settings()).uri("b/c.png") == str(tmp_path / "b/c.png")


@pytest.mark.parametrize("place", ["nothing", "a.png"])
def test_what_is_no_folder_cannot_be_listed(tmp_path: Path, place: str) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(OSError, match="is not there, or is no folder"):
        list_files(str(tmp_path / place), "*", Settings())


def test_a_prefix_is_listed_like_a_folder(rclone_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in rclone_server.environment.items():
        monkeypatch.setenv(name, value)
    base = f"s3://{rclone_server.bucket}/listed"
    store = open_store(base, rclone_server.settings())
    for name in FILES:
        store.put(name, name.encode(), sha256=sha256_hex(name.encode()), content_type="image/png")
    found = list_files(base, "**/*", rclone_server.settings())
    assert found == (base, ("a.png", "b/c.png"), ())
    assert found.uri("b/c.png") == f"{base}/b/c.png"
    assert list_files(base, "*", rclone_server.settings()) == (base, ("a.png",), ("b",))
