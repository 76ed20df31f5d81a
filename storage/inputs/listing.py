"""Listing of the files that a job names at once: those in a folder, or below a prefix of a bucket."""

import os
from collections.abc import Iterator
from pathlib import Path

from configs.job.file_sets import FileSet
from configs.settings.settings import Settings
from storage.objects.artefacts import StoreError
from storage.objects.open_store import S3Location, parse_location, s3_store


def list_files(base: str, glob: str, settings: Settings) -> FileSet:
    """Return the files below a folder or an s3:// prefix: of folders within it only if the glob looks into them.

    Hidden files and folders, whose names begin with a dot, are left out. Raises OSError.
    """
    is_deep = "/" in glob
    try:
        location = parse_location(base)
        if isinstance(location, S3Location):
            found: Iterator[str] = (key for key, size in s3_store(location, settings).list("") if size)
        else:
            found = _below(location.path, is_deep)
        visible = sorted(path for path in found if not any(part.startswith(".") for part in path.split("/")))
    except StoreError as error:
        raise OSError(str(error)) from error
    base = base.rstrip("/") or "/"
    if is_deep:
        return FileSet(base, tuple(visible))
    folders = dict.fromkeys(folder for path in visible if (folder := path.rpartition("/")[0].partition("/")[0]))
    return FileSet(base, tuple(path for path in visible if "/" not in path), tuple(folders))


def _below(folder: Path, is_deep: bool) -> Iterator[str]:
    """Yield the paths of the files; without `is_deep` those of folders within it as well, which end in `/`."""

    def refuse(error: OSError) -> None:
        raise OSError(f"{error.filename} cannot be listed: {error.strerror}") from error

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there, or is no folder; correct the path")
    for parent, folders, files in os.walk(folder, onerror=refuse):
        if not is_deep:
            yield from (f"{name}/" for name in folders)
        folders[:] = [name for name in folders if is_deep and not name.startswith(".")]
        for name in files:
            yield Path(parent, name).relative_to(folder).as_posix()
