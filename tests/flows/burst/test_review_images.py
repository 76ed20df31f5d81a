"""Which images the review page shows beside a refused one, and what it calls them."""

import json
from pathlib import Path
from typing import Any

from flows.burst.distinct import settle_repetitions
from flows.pages.gallery import finish_job
from storage.images.thumbnails import thumbnail_key
from storage.objects.folder_store import FolderStore
from tests.support.jobs.refused_job import GATE, refused_job
from tests.support.jobs.verified_job import IconJob
from tests.support.mill import JOB


def rows(job: IconJob) -> dict[str, list[Any]]:
    data = [job.store.get(key) for key, _ in job.store.list(f"{JOB}/review/")]
    some = [row for each in data for row in json.loads(each.partition(b",")[2].rpartition(b")")[0])]
    return {row[0]: row for row in some}


def test_an_item_that_repeats_another_is_shown_beside_that(tmp_path: Path) -> None:
    job = IconJob(tmp_path, FolderStore(tmp_path / "out"), distinct=True)
    job.run()
    settle_repetitions(job.job, job.ledger, job.mill.settings)
    finish_job(job.job, job.ledger, job.mill.settings)
    twin = rows(job)["twin"]
    assert twin[7][0] == ["item first", f"../{job.artefact('first', 'small').key}", None, 6, 6]
    assert [image[0] for image in twin[7][1:]] == ["original"]


def test_attempts_are_counted_and_not_numbered_as_the_recipe_does(tmp_path: Path) -> None:
    larger = {"retry": 1, "change": {"small": {"width": [7]}}}
    steps = [
        {"id": "original", "step": "load"},
        {"id": "small", "step": "resize", "width": 6, "require": [GATE], "on_fail": larger},
    ]
    row = rows(refused_job(tmp_path, steps=steps))["first"]
    assert row[6][0] == "small, attempt 2"
    assert [image[0] for image in row[7]] == ["original", "small"]


def test_large_refused_images_are_shown_by_their_thumbnails(tmp_path: Path) -> None:
    gate = {"that": "facts.this.width < 100", "because": "too wide"}
    steps = [
        {"id": "original", "step": "load"},
        {"id": "small", "step": "resize", "width": 500, "require": [gate]},
    ]
    job = refused_job(tmp_path, steps=steps)
    image = job.artefact("first", "small")
    assert rows(job)["first"][6] == ["small", f"../{image.key}", image.fingerprint, 500, 500]
    assert job.store.exists(thumbnail_key(JOB, image.fingerprint))
