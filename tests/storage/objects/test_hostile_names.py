"""A name either is refused with a message, or names an object below the store's root, whatever is in it."""

import os
import tempfile
import unicodedata
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from configs.documents.fields import check_name
from configs.job.job import Grid, ItemEntry, Job, expand_grid, grid_problems
from configs.job.tables import read_table
from storage.objects.artefacts import ArtefactStore, StoreError
from storage.objects.folder_store import FolderStore
from storage.objects.keys import artefact_key, final_key, job_key, sha256_hex
from tests.storage.conftest import OpenS3

HOSTILE = [
    "..",
    ".",
    "../../etc/cron.d/x",
    "..\\..\\x",
    "/etc/passwd",
    "//server/share",
    "C:\\Windows\\x",
    "C:x",
    "~",
    "~root",
    "a/../../b",
    "a/./b",
    "a//b",
    "a\x00b",
    "a\nb",
    "a\rb",
    "\x7f",
    "．．",  # full width dots
    "．．／．．／x",
    "‥",  # two dot leader, which compatibility forms turn into two dots
    "a⁄b",  # fraction slash
    "a∕b",  # division slash
    "a／b",  # full width slash
    "a⧵b",
    "%2e%2e%2f",
    "..%00",
    "%252e%252e",
    "a\u202egnp.exe",
    "\u2066a\u2069",
    "a\u200b",
    "a\ufeffb",
    "a\u00adb",
    "\u2028",
    "e\u0301",
    "\ufb01le",
    "ⅷ",
    "K",  # the Kelvin sign, which normalization turns into a K
    "CON",
    "nul.txt",
    "COM1",
    "a.",
    "a...",
    "a ",
    " a",
    "a\u00a0",
    "\u3000",
    "x" * 300,
    "🧪" * 80,
    "\ud800",
    "$(touch x)",
    "`id`",
    "-rf",
    "--help",
    "|id",
    "a;b",
    "<script>",
    "{{7*7}}",
    "%s%n",
    ".pixelmill-lock",
    ".pixelmill-x.tmp",
    ".git",
    "artefacts",
    "index.html",
    "manifest.jsonl",
    "*",
    "?",
    "a:stream",
    "",
]
names = st.one_of(
    st.sampled_from(HOSTILE),
    st.text("./\\~%: a\x00\u202eé\u0301．／", max_size=12),
    st.text(max_size=160),
    st.lists(st.sampled_from(["..", ".", "", "a", "~", "x" * 90]), max_size=4).map("/".join),
)


def accepted(name: str) -> str | None:
    """The name as a job stores it; None if it is refused, which takes a message."""
    try:
        return ItemEntry.model_validate({"name": name}).name
    except ValidationError as refusal:
        assert "must" in str(refusal) or "string_unicode" in str(refusal)
        return None


def everything_below(folder: Path) -> set[Path]:
    return {Path(parent, name) for parent, folders, files in os.walk(folder) for name in (*folders, *files)}


def keys_of(job: str, item: str) -> list[str]:
    keys = [final_key(job, item, "png"), final_key(job, item, "png", step="base"), job_key(job, "index.html")]
    return [*keys, final_key(job, f"{item}-10000", "avif", step="a" * 40)]  # the longest that is made of a name


def fill(store: ArtefactStore, keys: list[str]) -> None:
    source = artefact_key(sha256_hex(b"x"), "png")
    store.put(source, b"x", sha256=sha256_hex(b"x"), content_type="image/png")
    for key in keys:
        store.publish(source, key, content_type="image/png")
        assert store.get(key) == b"x"


@given(names, names)
@example("．．", "‥")
@settings(max_examples=100, deadline=None)
def test_a_folder_is_not_left(job: str, item: str) -> None:
    job_name, item_name = accepted(job), accepted(item)
    with tempfile.TemporaryDirectory() as outer:
        root = Path(outer, "out")
        if job_name is not None and item_name is not None:
            fill(FolderStore(root), keys_of(job_name, item_name))
        assert all(path.is_relative_to(root) for path in everything_below(Path(outer)))


@given(names, names)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_bucket_s_prefix_is_not_left(open_moto: OpenS3, job: str, item: str) -> None:
    job_name, item_name = accepted(job), accepted(item)
    if job_name is None or item_name is None:
        return
    store = open_moto()
    fill(store, keys_of(job_name, item_name))
    bucket, _, prefix = store.root.removeprefix("s3://").partition("/")
    pages = store._client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    assert {f"{prefix}/{key}" for key in keys_of(job_name, item_name)} <= set(keys)
    assert all(key.startswith(f"{prefix}/") for key in keys if prefix in key)
    assert not any(segment in ("", ".", "..") for key in keys for segment in key.split("/"))


@pytest.mark.parametrize("name", HOSTILE)
def test_whoever_makes_a_key_of_a_refused_name_is_refused_by_the_store(name: str, tmp_path: Path) -> None:
    """The store does not rely on the names' being checked."""
    store = FolderStore(tmp_path / "out")
    with suppress(StoreError, UnicodeEncodeError):
        fill(store, [final_key(name, name, "png"), name])
    assert all(path.is_relative_to(tmp_path / "out") for path in everything_below(tmp_path))


@given(names)
def test_matrix_values_name_items_safely(value: str) -> None:
    """Templates of names are filled with values, and what comes out is checked like a name that was written."""
    for fields in ({"name": "{v}"}, {"name": "icon-{v}.x"}, {}):
        try:
            grid = Grid.model_validate({**fields, "prompt": "x", "v": (value,)})
        except ValidationError:
            return
        assert grid_problems(grid, "matrix", {}) == []
        (made,) = expand_grid(grid, "matrix", {})
        if isinstance(made, list):
            assert all(problem.message for problem in made)
        else:
            assert check_name(made.name) == made.name


@pytest.mark.parametrize("name", [name for name in HOSTILE if name and "\ud800" not in name])
def test_names_of_tables_are_checked_too(name: str) -> None:
    import csv
    import io

    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["name", "prompt"], [name, "x"]])
    rows, problems, _ = read_table(text.getvalue().encode(), "t.csv", 10)
    if accepted(name) is None:
        # A cell of white space alone says that the item has no name.
        assert problems or rows[0].entry.name is None
    else:
        assert rows[0].entry.name == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("name", ["artefacts", "Artefacts"])
def test_a_job_cannot_take_the_folder_of_all_images(name: str) -> None:
    with pytest.raises(ValidationError, match="which is the folder of all jobs' images"):
        Job.model_validate({"name": name, "recipe": "icon", "output": "./out"})


@pytest.mark.parametrize("name", ["a\u202egnp.exe", "a\u200b", "\u2066a", "a\ufeffb", "a\u00adb", "🏴\U000e0067"])
def test_what_is_not_seen_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="invisible character U\\+"):
        check_name(name)
