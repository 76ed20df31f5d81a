"""Whether report and gallery are whole, and of the job's present state."""

import json
import re
from collections.abc import Iterator
from typing import Any

from flows.pages.gallery import DATA_FOLDER
from flows.report.report import GALLERY_NAME, REPORT_NAME, Summary
from flows.verify.findings import Finding, Kind
from storage.ledger.records import JobRecord
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject
from storage.objects.keys import job_key, sha256_hex

_DATA_FILE = re.compile(r"(?:items|details|ways)-([0-9a-f]{16})\.js")  # named by the beginning of its digest


def wrong_pages(job: JobRecord, summary: Summary, store: ArtefactStore) -> Iterator[Finding]:
    """What is wrong with them. `summary`: of the job's last run, as the ledger has it now.

    The report is written last: if it tells of this run, so does the gallery, and only its files may be damaged.
    """
    key = job_key(job.name, REPORT_NAME)
    try:
        report = json.loads(store.get(key))
    except (MissingObject, DamagedObject, ValueError) as error:
        yield Finding(Kind.REPORT, f"{key} cannot be read: {error}", key=key)
    else:
        if not isinstance(report, dict) or not _is_of(report, summary):
            yield Finding(Kind.REPORT, f"{key} tells of another state of the job than the ledger", key=key)
    page = job_key(job.name, GALLERY_NAME)
    try:
        text = store.get(page).decode()
    except (MissingObject, DamagedObject, ValueError) as error:
        yield Finding(Kind.GALLERY, f"{page} cannot be read: {error}", key=page)
        return
    files = sorted({(match[0], match[1]) for match in _DATA_FILE.finditer(text)})
    if not files:
        yield Finding(Kind.GALLERY, f"{page} shows no item", key=page)  # a job has at least one
    for name, digest in files:
        data_key = job_key(job.name, f"{DATA_FOLDER}/{name}")
        if not _holds(store, data_key, digest):
            yield Finding(Kind.GALLERY, f"{data_key} is missing or damaged", key=data_key)


def _is_of(report: dict[str, Any], summary: Summary) -> bool:
    now = summary.model_dump(mode="json")
    told = report.get("items")
    # How many wait for a person changes without a run.
    same = isinstance(told, dict) and {**told, "waiting": 0} == {**now["items"], "waiting": 0}
    return same and all(report.get(name) == now[name] for name in ("status", "seconds"))


def _holds(store: ArtefactStore, key: str, digest: str) -> bool:
    try:
        return sha256_hex(store.get(key)).startswith(digest)
    except (MissingObject, DamagedObject):
        return False
