"""Which locations and keys are accepted."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.settings.settings import Settings
from storage.objects.artefacts import StoreError
from storage.objects.keys import check_key
from storage.objects.open_store import FileLocation, S3Location, open_store, parse_location


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/data/images", FileLocation(Path("/data/images"))),
        ("/data/a b#c?d%20e", FileLocation(Path("/data/a b#c?d%20e"))),
        ("file:///data/a%20b", FileLocation(Path("/data/a b"))),
        ("file://localhost/data", FileLocation(Path("/data"))),
        ("relative/folder", FileLocation(Path.cwd() / "relative/folder")),
        ("~/images", FileLocation(Path.home() / "images")),
        (Path("/data/x:y"), FileLocation(Path("/data/x:y"))),
        ("s3://bucket", S3Location("bucket", "")),
        ("s3://bucket/", S3Location("bucket", "")),
        ("S3://bucket/a/b c?#%20.png", S3Location("bucket", "a/b c?#%20.png")),
    ],
)
def test_locations(uri: str | Path, expected: FileLocation | S3Location) -> None:
    assert parse_location(uri) == expected


@pytest.mark.parametrize(
    ("uri", "advice"),
    [
        ("https://host/x.png", "cannot read https: locations"),
        ("gs://bucket/x", "cannot read gs: locations"),
        ("s3:///x.png", "no bucket"),
        ("s3:bucket/x", "no bucket"),
        ("file://host/share", "three slashes"),
        ("", "empty"),
    ],
)
def test_other_locations_are_refused_with_advice(uri: str, advice: str) -> None:
    with pytest.raises(StoreError, match=advice):
        parse_location(uri)


@given(st.text(min_size=1, max_size=60) | st.lists(st.sampled_from(["..", ".", "", "a", "ü"])).map("/".join))
def test_an_accepted_key_stays_inside(key: str) -> None:
    try:
        check_key(key)
    except StoreError:
        return
    assert PurePosixPath(key).as_posix() == key
    assert not PurePosixPath(key).is_absolute()
    assert (Path("/root") / key).resolve().is_relative_to("/root")


@pytest.mark.parametrize("key", ["a" * 201, "/".join(["a" * 150] * 8), ".pixelmill-x.tmp", "a/.pixelmill-lock"])
def test_long_keys_and_the_stores_own_names_are_refused(key: str) -> None:
    with pytest.raises(StoreError):
        check_key(key)


def test_a_folder_with_odd_characters_keeps_its_root(tmp_path: Path) -> None:
    store = open_store(tmp_path / "a b#c%20é", Settings())
    assert store.root.startswith("file:///")
    assert open_store(store.root, Settings()).uri("k") == str(tmp_path / "a b#c%20é/k")
