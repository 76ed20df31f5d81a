"""Addresses under which a browser finds the files of a job."""

from urllib.parse import quote

from configs.settings.settings import Settings
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import sha256_hex

PRESIGNED_SECONDS = 7 * 24 * 3600  # the longest that S3 allows


def root_id(root: str) -> str:
    """How the gallery server calls a store: its root tells paths and buckets, and is no good part of an address."""
    return sha256_hex(root.encode())[:12]


def served_address(store: ArtefactStore, key: str, settings: Settings) -> str | None:
    """The file's address at `pixelmill serve`, whose own address is `PIXELMILL_GALLERY_URL`; None without that."""
    if settings.gallery_url is None:
        return None
    return f"{settings.gallery_url.rstrip('/')}/files/{root_id(store.root)}/{quote(key)}"


def file_address(store: ArtefactStore, key: str, settings: Settings) -> str | None:
    """As `served_address`, else one that S3 signs for a week. None: only `store.uri` says where the file is."""
    return served_address(store, key, settings) or store.link(key, PRESIGNED_SECONDS)
