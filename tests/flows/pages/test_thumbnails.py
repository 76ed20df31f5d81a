"""The pages of a job with large images: they load thumbnails, and originals only where somebody looks at one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from flows.pages.gallery import finish_job
from flows.verify.verify import verify_job
from steps.recipe import resolve_program
from storage.ledger.records import JobStatus
from storage.objects.keys import job_key
from tests.support.browser import open_file, wait_for_script
from tests.support.mill import JOB, Mill

PHOTOS = 12
RECIPE = Recipe.model_validate({"name": "photos", "steps": [{"id": "photo", "step": "load"}]})
FOLDER = f"{JOB}/thumbnails/"


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    folder = tmp_path_factory.mktemp("photos")
    items = []
    for index in range(PHOTOS):
        # Noise: none of its formats makes it small.
        Image.effect_noise((1500, 1000), 90).convert("RGB").save(folder / f"{index}.jpg", quality=90)
        items.append(Item(index=index, name=f"p{index}", seed=index, image=str(folder / f"{index}.jpg")))
    made = Mill(folder, resolve_program(RECIPE), items, recipe=RECIPE)
    made.run()
    made.ledger.jobs.set_status(JOB, JobStatus.DONE)
    finish_job(made.ledger.jobs.get(JOB), made.ledger, made.settings)
    yield made
    made.ledger.close()


@pytest.fixture
def index(mill: Mill) -> Path:
    return Path(mill.store.uri(job_key(JOB, "index.html")))


def thumbnails(mill: Mill) -> dict[str, int]:
    return dict(mill.store.list(FOLDER))


@pytest.mark.parts
def test_a_page_of_photos_loads_less_than_a_megabyte(page: Page, mill: Mill, index: Path) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    open_file(page, index)
    expect(page.locator("#result")).to_have_text(f"{PHOTOS} images")
    page.evaluate("document.querySelectorAll('.card img').forEach((image) => { image.loading = 'eager'; })")
    wait_for_script(page, "[...document.querySelectorAll('.card img')].every((image) => image.naturalWidth === 400)")
    assert not [url for url in loaded if url.endswith((".png", ".jpg"))]
    assert len(thumbnails(mill)) == PHOTOS
    originals = sum(size for key, size in mill.store.list("artefacts/"))
    assert sum(thumbnails(mill).values()) < 1_000_000 < originals / 10


@pytest.mark.parts
def test_an_item_that_is_opened_shows_its_original(page: Page, index: Path) -> None:
    open_file(page, index, "#item=3")
    wait_for_script(page, "document.getElementById('after').naturalWidth === 1500")
    expect(page.locator("#strip img")).to_have_attribute("src", re.compile(r"^thumbnails/.*\.webp$"))


@pytest.mark.parts
def test_an_image_whose_thumbnail_was_deleted_is_shown_itself(
    page: Page, errors: list[str], mill: Mill, index: Path
) -> None:
    for key in thumbnails(mill):
        mill.store.delete(key)
    open_file(page, index)
    wait_for_script(page, "document.querySelector('.card img')?.naturalWidth === 1500")
    errors.clear()  # the files that are not there
    finish_job(mill.ledger.jobs.get(JOB), mill.ledger, mill.settings)


@pytest.mark.parts
def test_a_job_of_a_version_without_thumbnails_gets_them_when_it_is_finished_again(mill: Mill) -> None:
    before = set(thumbnails(mill))
    for key in before:
        mill.store.delete(key)
    finish_job(mill.ledger.jobs.get(JOB), mill.ledger, mill.settings)
    assert set(thumbnails(mill)) == before


@pytest.mark.parts
def test_a_verification_finds_nothing_wrong_with_them(mill: Mill) -> None:
    found = verify_job(JOB, mill.ledger, mill.store, running=False, advance=lambda number: None)
    assert (found.sound, found.finals, found.artefacts) == (True, PHOTOS, PHOTOS)
