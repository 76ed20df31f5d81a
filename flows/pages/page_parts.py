"""What static pages of a job are made of: templates, and files of ours that stand in a page as they are."""

import base64
import hashlib
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from flows.report.report import format_seconds
from storage.objects.artefacts import ArtefactStore, ContentConflict
from storage.objects.keys import sha256_hex


@lru_cache(maxsize=1)
def templates() -> Environment:
    """The templates beside this module. All values are escaped."""
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


def source(name: str) -> Markup:
    """A file of ours, to be placed in the page as it is: neither parsed as a template nor escaped."""
    return Markup((files("flows.pages") / "templates" / name).read_text(encoding="utf-8"))  # noqa: S704


def digest(script: str) -> str:
    """As a security policy names the one script that may stand in a page."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def store_data(store: ArtefactStore, key: str, data: bytes, *, content_type: str) -> None:
    """Stores a data file of a page. Its key is named by its digest: other bytes under that name are damaged ones."""
    try:
        store.put(key, data, sha256=sha256_hex(data), content_type=content_type)
    except ContentConflict:
        store.replace(key, data, content_type=content_type)
