"""Parts shared by the static pages of a job: templates, data files and how they are stored.

A page works from a folder and from a bucket, with no server behind it. Its data lie beside it in script files, because
a page opened from a folder may load scripts but not JSON. Data files are named by digests of their content and the page
is written last, so a reader sees the old page or the new one, whole.
"""

import base64
import hashlib
import json
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.resources import files
from itertools import islice
from typing import NamedTuple, TypeVar
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flows.report.render import format_seconds
from storage.objects.artefacts import ArtefactStore, ContentConflict
from storage.objects.keys import job_key, sha256_hex

T = TypeVar("T")

_SCRIPT = "text/javascript; charset=utf-8"
_PAGE = "text/html; charset=utf-8"
_SHARED_STYLE = "page.css"


class PageFile(NamedTuple):
    """A file of a page; `name` is relative to the job's folder."""

    name: str
    data: bytes
    content_type: str


def render_page(name: str, template: str, *, style: str, scripts: Sequence[str], **values: object) -> PageFile:
    """Return the page `name`, with its style and one script made of the files `scripts` inlined."""
    script = page_script(scripts)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = render_template(template, style=style, script=script, script_digest=f"sha256-{digest}", **values)
    return PageFile(name, text.encode(), _PAGE)


def render_template(template: str, *, style: str, **values: object) -> str:
    """Return a page with the style of all pages and its own inlined."""
    return _templates().get_template(template).render(style=_source(_SHARED_STYLE) + _source(style), **values)


def page_script(names: Iterable[str]) -> Markup:
    """Return one script made of files, in a closure: they share their names without making them global."""
    return Markup('"use strict";\n(() => {\n%s})();\n') % Markup("\n").join(map(_source, names))


def data_file(folder: str, kind: str, function: str, number: int, rows: Sequence[object]) -> PageFile:
    """Return a script file that passes `number` and the rows to a function of the page."""
    # ASCII only: the file means the same in whatever encoding a server claims, lone surrogates included.
    data = f"{function}({number},{json.dumps(rows, separators=(',', ':'), allow_nan=False)});\n".encode("ascii")
    return PageFile(f"{folder}/{kind}-{sha256_hex(data)[:16]}.js", data, _SCRIPT)


def write_files(
    store: ArtefactStore, job_name: str, written: Iterable[PageFile], *, page: str, folder: str
) -> str | None:
    """Store the files of a page, the page last, and delete the data files and the page that they replace.

    Returns the key of the page, or None if `written` has no page. If this raises, the page from before still works.
    """
    keys = set()
    page_key = job_key(job_name, page)
    for file in written:
        key = job_key(job_name, file.name)
        if file.name == page:
            store.sync()
            store.replace(key, file.data, content_type=file.content_type)
        else:
            try:
                store.put(key, file.data, sha256=sha256_hex(file.data), content_type=file.content_type)
            except ContentConflict:  # the key holds the digest, so other bytes under it are damaged
                store.replace(key, file.data, content_type=file.content_type)
        keys.add(key)
    if page_key not in keys and store.exists(page_key):
        store.delete(page_key)
    for key in [key for key, _ in store.list(job_key(job_name, f"{folder}/")) if key not in keys]:
        store.delete(key)
    return page_key if page_key in keys else None


def relative_link(job_name: str, key: str) -> str:
    """Return the URL of an object as seen from the job's folder; every path segment is percent-encoded."""
    inside = key.startswith(f"{job_name}/")
    path = key.removeprefix(f"{job_name}/") if inside else posixpath.relpath(key, start=job_name)
    return quote(path, safe="/")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield the items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


@lru_cache(maxsize=1)
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("flows.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = format_seconds
    environment.filters["count"] = lambda value: f"{value:,}"
    return environment


def _source(name: str) -> Markup:
    """Return a file of this package as it is: neither parsed as a template nor escaped."""
    return Markup((files("flows.pages") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704
