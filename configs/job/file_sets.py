"""Items from many input images at once: a folder, a glob or an s3:// prefix, and a table that lies beside them."""

import fnmatch
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from configs.documents import uris
from configs.documents.fields import MAX_NAME_BYTES, check_name, collision_key, objection_to_name, slug
from configs.documents.problems import Problem, did_you_mean, some_of
from configs.job.job import ItemEntry
from configs.job.tables import TableRow, read_table

IMAGE_SUFFIXES = (".avif", ".bmp", ".gif", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
# As datasets of Hugging Face name them: a row for each image, found by its path in this column.
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
FILE_COLUMN = "file_name"
_WILD = re.compile(r"[*?\[]")


class FileSet(NamedTuple):
    """Files below a folder or a prefix, by their paths from there, sorted."""

    base: str  # an absolute path or s3://bucket/prefix
    paths: tuple[str, ...]
    folders: tuple[str, ...] = ()  # names of those within it that were not looked into

    def uri(self, path: str) -> str:
        return f"{self.base.rstrip('/')}/{path}"


ListFiles = Callable[[str, str], FileSet]  # of a base and a glob below it; raises OSError


class SetImage(NamedTuple):
    """An image of a set, or a row of its table."""

    entry: ItemEntry
    line: int | None  # in the table


class ImageSet(NamedTuple):
    """The images that were found, mistakes in their table, and what was left out."""

    images: list[SetImage]
    problems: list[Problem]
    notices: list[str]
    table: str  # its URI; empty if there is none


def names_files(text: str, folder: str) -> bool:
    """Return whether a job's `items` name images, and not one table. A folder that exists needs no slash."""
    if uris.is_web(text):
        return False
    if text.endswith("/") or is_pattern(text) or _is_image(text):
        return True
    uri = uris.resolve(text, folder)
    return not uris.is_remote(uri) and Path(uri).is_dir()


def _is_image(path: str) -> bool:
    return path.lower().endswith(IMAGE_SUFFIXES)


def is_pattern(text: str) -> bool:
    """Return whether a text is a glob (see `split_glob`)."""
    return _WILD.search(text) is not None


def split_glob(text: str) -> tuple[str, str]:
    """Return the folder that a text begins with, and the glob below it; `*` for a folder alone, a name for an image.

    In a glob `*` and `?` stay in one folder, `**` is any number of folders, and `[abc]` is one of these characters.
    """
    wild = _WILD.search(text)
    if wild is None and _is_image(text):
        base, slash, name = text.rpartition("/")
        return (base or ("/" if slash else ".")), name
    if wild is None:
        return text.rstrip("/") or "/", "*"
    base, slash, _ = text[: wild.start()].rpartition("/")
    pattern = text[len(base) + len(slash) :]
    pattern += "/*" if pattern.endswith("**") else "*" if pattern.endswith("/") else ""
    return (base or ("/" if slash else ".")), pattern


def glob_matcher(glob: str) -> Callable[[str], bool]:
    """Return a function that decides whether a path matches the whole glob (see `split_glob`).

    All places in the glob that a path may have come to are followed at once: no glob takes more than their number of
    looks for each folder.
    """
    parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in glob.split("/")]

    def reached(places: Iterable[int]) -> set[int]:
        """Add the places behind a `**`, which may also be no folder at all."""
        found = set(places)
        for place, part in enumerate(parts):
            if place in found and part is None:
                found.add(place + 1)
        return found

    def matches(path: str) -> bool:
        places = reached([0])
        for name in path.split("/"):
            inside = [place for place in places if place < len(parts)]
            stays = [place for place in inside if parts[place] is None]
            goes_on = [place + 1 for place in inside if (part := parts[place]) is not None and part.match(name)]
            places = reached([*stays, *goes_on])
        return len(parts) in places

    return matches


def read_image_set(
    found: FileSet,
    glob: str,
    read_bytes: Callable[[str], bytes],
    limit: int,
    *,
    shown_as: str,
    variables: Collection[str] = (),
) -> ImageSet:
    """Return an entry for each image of a set, with the values of the table beside them. Raises OSError.

    Images are named after their paths, so that no name depends on the order or on other files; more than `limit` are
    a mistake.
    """
    paths = list(filter(glob_matcher(glob), found.paths))
    images = list(filter(_is_image, paths))
    tables = [name for name in TABLES if name in found.paths]
    notices = _left_out([path for path in paths if not _is_image(path) and path not in TABLES])
    if glob == "*" and found.folders and images:
        count = f"{len(found.folders):,} {'folder is' if len(found.folders) == 1 else 'folders are'}"
        notices.append(
            f"{count} not looked into: {some_of(found.folders)}; `{found.base}/**` takes their images as well"
        )
    if not images:
        deeper = "" if "**" in glob else f"; folders below it are looked into with `{found.base}/**`"
        message = "is not there; correct the path" if not is_pattern(glob) else f"holds no images{deeper}"
        return ImageSet([], [Problem("items", f"{shown_as} {message}")], notices, "")
    if len(images) > limit:
        message = f"{shown_as} holds {len(images):,} images, more than {limit:,} (setting PIXELMILL_MAX_ITEMS)"
        return ImageSet([], [Problem("items", message)], notices, "")
    if len(tables) > 1:
        return ImageSet([], [Problem("items", f"{shown_as} holds {' and '.join(tables)}: keep one")], notices, "")
    rows: dict[str, TableRow] = {}
    problems: list[Problem] = []
    table = found.uri(tables[0]) if tables else ""
    if table:
        rows, problems, told = _rows_by_file(read_bytes(table), table, found, images, limit, variables)
        notices += told
    entries = [_image(path, name, found, rows.get(path)) for path, name in zip(images, _names(images), strict=True)]
    return ImageSet(entries, problems, notices, table)


def _left_out(paths: Sequence[str]) -> list[str]:
    if not paths:
        return []
    return [f"{len(paths):,} {'file is' if len(paths) == 1 else 'files are'} no image and left out: {some_of(paths)}"]


def _image(path: str, name: str, found: FileSet, row: TableRow | None) -> SetImage:
    given = row.entry if row is not None else ItemEntry()
    variables = {key: value for key, value in given.vars.items() if key != FILE_COLUMN}
    changes = {"name": given.name or name, "image": found.uri(path), "vars": variables}
    return SetImage(given.model_copy(update=changes), row.line if row is not None else None)


def _rows_by_file(
    data: bytes, table: str, found: FileSet, images: Sequence[str], limit: int, variables: Collection[str]
) -> tuple[dict[str, TableRow], list[Problem], list[str]]:
    """Return the rows by the path of their image, and the mistakes and notices of the table."""
    rows, problems, notices = read_table(data, uris.shown(table), limit, (FILE_COLUMN, *variables))
    known, by_file = set(images), dict[str, TableRow]()
    for row in rows:
        path = row.entry.vars.get(FILE_COLUMN)
        message = None
        if not isinstance(path, str):
            message = "must be the path of an image from the table's folder"
        elif path in by_file:
            message = f"`{path}` has a row already, in line {by_file[path].line}"
        elif path not in known and path not in found.paths:
            message = f"no such image: {path}{did_you_mean(path, known)}"
        elif row.entry.image is not None:
            message = "give `image` or `file_name`, not both"
        if message is not None:
            problems.append(Problem(FILE_COLUMN, message, uris.shown(table), row.line))
        else:
            by_file[str(path)] = row
    return by_file, problems, notices


def _names(paths: Sequence[str]) -> list[str]:
    """Return a name for each path: without its ending, unless another image's name would be the same."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    forms = (
        [_name(stem) for stem in stems],
        [_name(f"{stem}-{PurePosixPath(path).suffix[1:]}") for stem, path in zip(stems, paths, strict=True)],
        [_name(f"{stem}-{_digest(path)}") for stem, path in zip(stems, paths, strict=True)],
    )
    counts = [Counter(map(collision_key, names)) for names in forms[:-1]]
    return [
        next((name for name, count in zip(of_one, counts, strict=False) if count[collision_key(name)] == 1), of_one[-1])
        for of_one in zip(*forms, strict=True)
    ]


def _name(path: str) -> str:
    name = path.replace("/", "-")
    try:
        if len(name.encode()) <= MAX_NAME_BYTES and objection_to_name(name) is None:
            return check_name(name)
    except ValueError:
        pass
    return f"{slug(name)}-{_digest(path)}".strip("-")


def _digest(path: str) -> str:
    return hashlib.sha256(path.encode()).hexdigest()[:6]
