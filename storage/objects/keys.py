"""Fingerprints and the keys of objects. Pure functions."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from storage.objects.artefacts import StoreError

MAX_KEY_BYTES = 1024  # the limit of S3
MAX_SEGMENT_BYTES = 200  # file systems allow 255; the rest is for the temporary file's suffix
HIDDEN_PREFIX = ".pixelmill-"  # temporary files and locks of the folder store: never a key

_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 in 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def fingerprint(
    *,
    step: str,
    version: int,
    identity: Mapping[str, Any],
    model_digests: Mapping[str, str],
    inputs: Sequence[str],
) -> str:
    """Return the SHA-256 over everything that decides an image, as canonical JSON.

    `identity` holds the resolved parameters, with prompt and seed where the step reads them; `inputs` the fingerprint
    of the input image's artefact and the digests of the item's files. Key order does not matter; values must be JSON.
    """
    document = {
        "step": step,
        "version": version,
        "identity": dict(identity),
        "models": dict(model_digests),
        "inputs": list(inputs),
    }
    canonical = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return sha256_hex(canonical.encode())


def artefact_key(fingerprint: str, extension: str) -> str:
    """Return the artefact's key, spread over 256 folders."""
    return f"artefacts/{fingerprint[:2]}/{fingerprint}.{extension}"


def fingerprint_of(key: str) -> str:
    """Return the fingerprint in an artefact's key."""
    return key.rpartition("/")[2].partition(".")[0]


def final_key(job: str, item: str, extension: str, *, step: str | None = None) -> str:
    """Return the key of a final image, by names. `step` distinguishes several kept images of an item."""
    name = item if step is None else f"{item}.{step}"
    return f"{job}/final/{name}.{extension}"


def job_key(job: str, name: str) -> str:
    """Return the key of a file about the whole job, such as its manifest."""
    return f"{job}/{name}"


def check_key(key: str) -> str:
    """Return the key if it is a relative POSIX path that stays inside the root. Raises StoreError."""
    segments = key.split("/")
    reason = None
    if not key or key.startswith("/"):
        reason = "it must be a relative path"
    elif any(segment in ("", ".", "..") for segment in segments):
        reason = "it must not hold empty, `.` or `..` segments"
    elif _UNSAFE.search(key):
        reason = "it must not hold backslashes or control characters"
    elif any(segment.startswith(HIDDEN_PREFIX) for segment in segments):
        reason = f"names beginning with {HIDDEN_PREFIX} are the store's own"
    elif len(key.encode()) > MAX_KEY_BYTES or any(len(segment.encode()) > MAX_SEGMENT_BYTES for segment in segments):
        reason = f"it is longer than {MAX_KEY_BYTES} bytes, or {MAX_SEGMENT_BYTES} bytes in one segment"
    if reason:
        raise StoreError(f"{key[:80]!r} cannot be the key of an object: {reason}.")
    return key
