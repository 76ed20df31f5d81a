"""The gallery server of this home: `pixelmill serve` records its address, and runs show where their images are seen."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from configs.settings.privacy import private_folder
from configs.settings.settings import Settings

_LOOK_SECONDS = 1.0


@contextmanager
def recorded_address(host: str, port: int, settings: Settings) -> Iterator[None]:
    """Record that a server at this address and port shows the galleries, while the context lasts."""
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    address, file = f"http://{name}:{port}", _file(settings)
    with suppress(OSError):  # the home of a container may be read-only
        private_folder(file.parent)
        file.write_text(address)
    try:
        yield
    finally:
        with suppress(OSError):
            if file.read_text() == address:  # else another server has taken its place
                file.unlink()


def with_gallery_address(settings: Settings) -> Settings:
    """Return settings with the address of this home's server, if it runs and `PIXELMILL_GALLERY_URL` names no other."""
    if settings.gallery_url is not None:
        return settings
    try:
        address = _file(settings).read_text()
        # Never through a proxy: it is on this machine.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{address}/healthz", timeout=_LOOK_SECONDS) as answer:
            is_ours = answer.read(16) == b"ok\n"
    except (OSError, ValueError):  # none runs, or it was killed
        return settings
    return settings.model_copy(update={"gallery_url": address}) if is_ours else settings


def _file(settings: Settings) -> Path:
    return settings.home / "galleries.url"
