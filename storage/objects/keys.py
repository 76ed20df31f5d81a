"""Fingerprints and the keys of objects. Pure functions."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any


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


def final_key(job: str, item: str, extension: str, *, step: str | None = None) -> str:
    """Return the key of a final image, by names. `step` distinguishes several kept images of an item."""
    name = item if step is None else f"{item}.{step}"
    return f"{job}/final/{name}.{extension}"


def job_key(job: str, name: str) -> str:
    """Return the key of a file about the whole job, such as its manifest."""
    return f"{job}/{name}"
