"""Globs, and the names that images of a folder get."""

import glob as library
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.job.file_sets import FileSet, glob_matcher, names_files, read_image_set, split_glob

parts = st.text("ab", min_size=1, max_size=2)
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)
globs = st.lists(st.sampled_from(["a", "ab", "*", "a*", "?", "[ab]", "[!a]", "**"]), min_size=1, max_size=3).map(
    "/".join
)


def image_names(*found: str, glob: str = "**/*") -> dict[str, str]:
    """Path -> name."""
    images = read_image_set(FileSet("/photos", tuple(sorted(found))), glob, lambda uri: b"", 100, shown_as="photos/**")
    assert images.problems == []
    return {str(image.entry.image).removeprefix("/photos/"): str(image.entry.name) for image in images.images}


@pytest.mark.parametrize(
    ("text", "base", "glob"),
    [
        ("photos/", "photos", "*"),
        ("photos/*.png", "photos", "*.png"),
        ("photos/**", "photos", "**/*"),
        ("photos/**/front.png", "photos", "**/front.png"),
        ("photos/*/", "photos", "*/*"),
        ("*.png", ".", "*.png"),
        ("/*.png", "/", "*.png"),
        ("s3://bucket/in/2024-*/", "s3://bucket/in", "2024-*/*"),
        ("s3://bucket/", "s3://bucket", "*"),
        ("photos/front.PNG", "photos", "front.PNG"),
        ("front.heic", ".", "front.heic"),
        ("s3://bucket/in/front.jpg", "s3://bucket/in", "front.jpg"),
    ],
)
def test_a_place_is_a_folder_and_a_glob_below_it(text: str, base: str, glob: str) -> None:
    assert names_files(text, "/")
    assert split_glob(text) == (base, glob)


@pytest.mark.parametrize("text", ["potions.csv", "s3://bucket/potions.csv", "https://host/a*b/", "nowhere"])
def test_a_table_is_no_set_of_files(text: str, tmp_path: Path) -> None:
    assert not names_files(text, str(tmp_path))


def test_a_folder_that_exists_needs_no_slash(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert names_files("photos", str(tmp_path))


@given(st.lists(paths, max_size=6), globs)
def test_globs_find_what_the_standard_library_finds(tmp_path_factory, found: list[str], glob: str) -> None:
    folder = tmp_path_factory.mktemp("globs")
    files = set()
    for path in found:
        file = folder / f"{path}.x"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        files.add(f"{path}.x")
    wanted = f"{glob}.x" if not glob.endswith("**") else f"{glob}/*.x"
    listed = set(library.glob(wanted, root_dir=folder, recursive=True))  # noqa: PTH207 - of Path it lacks `**/*.x`
    assert set(filter(glob_matcher(wanted), files)) == listed & files


def test_names_are_of_the_paths_and_do_not_change_places() -> None:
    assert image_names("A1/front.png", "B2/front.png", "IMG_1.JPG") == {
        "A1/front.png": "A1-front",
        "B2/front.png": "B2-front",
        "IMG_1.JPG": "IMG_1",
    }


def test_names_that_would_be_the_same_keep_their_endings() -> None:
    names = image_names("Key.png", "key.jpg", "a/b.png", "a-b.png", "other.png")
    assert names["Key.png"] == "Key-png"
    assert names["key.jpg"] == "key-jpg"
    assert names["other.png"] == "other"
    assert len({name.lower() for name in names.values()}) == 5


@given(st.lists(st.text(min_size=1, max_size=12).filter(lambda text: "\x00" not in text), max_size=6, unique=True))
def test_every_path_gets_a_name_of_its_own_whatever_lies_beside_it(stems: list[str]) -> None:
    found = [f"{stem}.png" for stem in stems if not stem.startswith("/") and "//" not in stem]
    names = image_names(*found) if found else {}
    assert len({name.lower() for name in names.values()}) == len(names)


def test_what_is_no_image_is_told_of() -> None:
    found = FileSet("/photos", ("a.png", "clip.mp4", "notes.txt"))
    images = read_image_set(found, "*", lambda uri: b"", 100, shown_as="photos/")
    assert [image.entry.name for image in images.images] == ["a"]
    assert images.notices == ["2 files are no image and left out: clip.mp4, notes.txt"]


def test_folders_within_a_folder_that_are_left_out_are_told_of() -> None:
    found = FileSet("/photos", ("a.png",), ("spring", "summer"))
    images = read_image_set(found, "*", lambda uri: b"", 100, shown_as="photos/")
    assert images.notices == [
        "2 folders are not looked into: spring, summer; `/photos/**` takes their images as well",
    ]


def test_an_image_by_its_path_is_one_item_and_speaks_of_no_other_files() -> None:
    found = FileSet("/photos", ("a.png", "b.png", "notes.txt"), ("spring",))
    images = read_image_set(found, "a.png", lambda uri: b"", 100, shown_as="photos/a.png")
    assert ([image.entry.name for image in images.images], images.notices) == (["a"], [])
    (problem,) = read_image_set(found, "c.png", lambda uri: b"", 100, shown_as="photos/c.png").problems
    assert problem.message == "photos/c.png is not there; correct the path"


def test_a_folder_without_images_says_where_to_look() -> None:
    images = read_image_set(FileSet("/photos", ("notes.txt",)), "*", lambda uri: b"", 100, shown_as="photos/")
    (problem,) = images.problems
    assert problem.message == "photos/ holds no images; folders below it are looked into with `/photos/**`"


def test_more_images_than_a_job_may_have_are_refused() -> None:
    found = FileSet("/photos", tuple(f"{number}.png" for number in range(11)))
    (problem,) = read_image_set(found, "*", lambda uri: b"", 10, shown_as="photos/").problems
    assert "holds 11 images, more than 10 (setting PIXELMILL_MAX_ITEMS)" in problem.message


@pytest.mark.parametrize("glob", ["[", "[]", "[!]", "[z-a]", "[[:alpha:]]", "\\", "**/" * 50 + "b", "*a" * 50])
def test_a_glob_of_nonsense_finds_nothing_and_takes_no_time(glob: str) -> None:
    assert not glob_matcher(glob)("/".join(["a" * 100] * 20))
