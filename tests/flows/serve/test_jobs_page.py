"""The Jobs page: what it shows of each job, and links that lead somewhere in every state of a job."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from flows.pages.gallery import finish_job
from flows.serve import jobs_page
from flows.serve.app import create_app
from steps.recipe import resolve_program
from storage.images.thumbnails import thumbnail_key
from storage.ledger.lease import job_lease
from storage.ledger.records import JobStatus
from tests.support.jobs.verified_job import IconJob
from tests.support.ledger_samples import start
from tests.support.mill import JOB, Mill


@pytest.fixture
def client(icons: IconJob) -> TestClient:
    return TestClient(create_app(icons.ledger, icons.mill.settings))


def links(html: str) -> list[str]:
    return [link for link in re.findall(r'(?:href|src)="([^"]+)"', html) if not link.startswith("data:")]


def rows(html: str) -> dict[str, str]:
    """Id of a job -> the text of its row."""
    texts = [" ".join(re.sub(r"<[^>]*>", " ", row).split()) for row in html.split('<li class="job')[1:]]
    return {text.split(" · ")[0].split()[-1]: text for text in texts}


def test_every_link_of_a_page_leads_somewhere_in_each_state_of_a_job(client: TestClient, refused: IconJob) -> None:
    client = TestClient(create_app(refused.ledger, refused.mill.settings))
    output = refused.store.root
    start(refused.ledger, job_id="killed", output=output)
    start(refused.ledger, job_id="refused", output=output)
    refused.ledger.jobs.set_status("refused", JobStatus.FAILED, "the bucket does not exist")
    start(refused.ledger, job_id="now", output=output)
    with job_lease("now", refused.ledger):
        for address in ("/", "/?show=running", "/?show=review", "/?show=stopped", "/jobs/now", "/jobs/refused/review"):
            page = client.get(address)
            assert page.status_code == 200
            assert len(links(page.text)) >= 2
            for link in links(page.text):
                assert client.get(link).status_code == 200, f"{address} links to {link}"


def test_a_job_leads_to_its_gallery_once_that_is_there(client: TestClient, icons: IconJob) -> None:
    there = client.get(f"/jobs/{JOB}")
    assert there.url.path.endswith(f"/{JOB}/index.html")
    icons.store.delete(f"{JOB}/index.html")
    page = client.get(f"/jobs/{JOB}")
    assert page.url.path == f"/jobs/{JOB}"
    assert "There is no gallery" in page.text
    assert client.get("/jobs/nobody").status_code == 404


def test_what_waits_for_review_is_shown_and_can_be_listed_alone(refused: IconJob) -> None:
    client = TestClient(create_app(refused.ledger, refused.mill.settings))
    start(refused.ledger, job_id="other")
    assert "3 to review" in rows(client.get("/").text)[JOB]
    assert client.get(f"/jobs/{JOB}/review").url.path.endswith(f"/{JOB}/review.html")
    assert list(rows(client.get("/?show=review").text)) == [JOB]


def test_a_row_has_state_counts_and_the_reason_of_a_failure(client: TestClient, icons: IconJob) -> None:
    start(icons.ledger, job_id="killed")
    start(icons.ledger, job_id="refused", name="<b>bold</b>")
    icons.ledger.jobs.set_status("refused", JobStatus.FAILED, "no <i>bucket</i>")
    page = client.get("/").text
    seen = rows(page)
    assert "interrupted 0 of 6 images" in seen["killed"]
    assert "incomplete 4 of 5 images" in seen[JOB] and "1 failed" in seen[JOB]
    assert "failed 0 of 6 images" in seen["refused"]
    assert "no &lt;i&gt;bucket" in page and "&lt;b&gt;bold" in page and "<b>bold" not in page


def test_a_page_looks_again_while_a_job_runs(client: TestClient, icons: IconJob) -> None:
    assert "http-equiv" not in client.get("/").text
    start(icons.ledger, job_id="now")
    with job_lease("now", icons.ledger):
        assert 'http-equiv="refresh"' in client.get("/").text
        assert "leads to it" in client.get("/jobs/now").text


def test_more_jobs_than_a_page_holds_are_on_further_pages(
    client: TestClient, icons: IconJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_page, "JOBS_PER_PAGE", 2)
    for number in range(4):
        start(icons.ledger, 1, job_id=f"job-{number}")
    first, last = client.get("/").text, client.get("/?page=3").text
    assert list(rows(first)) == ["job-3", "job-2"] and "Older jobs" in first and "Newer jobs" not in first
    assert list(rows(last)) == [JOB] and "Newer jobs" in last and "Older jobs" not in last
    assert client.get("/?page=x&show=y").status_code == 200


def test_the_page_runs_no_script_and_says_so(client: TestClient) -> None:
    answer = client.get("/")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.headers["content-security-policy"]
    assert "<script" not in answer.text


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    folder = tmp_path_factory.mktemp("photo")
    Image.effect_noise((900, 600), 90).convert("RGB").save(folder / "p.jpg")
    recipe = Recipe.model_validate({"name": "photos", "steps": [{"id": "photo", "step": "load"}]})
    item = Item(index=0, name="p", seed=0, image=str(folder / "p.jpg"))
    made = Mill(folder, resolve_program(recipe), [item], recipe=recipe)
    made.run()
    made.ledger.jobs.set_status(JOB, JobStatus.DONE)
    finish_job(made.ledger.jobs.get(JOB), made.ledger, made.settings)
    yield made
    made.ledger.close()


def test_images_of_a_job_without_thumbnails_are_made_small_when_they_are_asked_for(photo: Mill) -> None:
    client = TestClient(create_app(photo.ledger, photo.settings))
    (image,) = [link for link in links(client.get("/").text) if "/thumbnails/" in link]
    stored = client.get(image)
    (fingerprint,) = [report.artefacts["photo"].fingerprint for report in photo.reports()]
    photo.store.delete(thumbnail_key(JOB, fingerprint))
    made = client.get(image)
    assert made.content == stored.content
    assert made.headers["content-type"] == "image/webp" and "immutable" in made.headers["cache-control"]
    assert client.get(image.replace(fingerprint, "0" * 64)).status_code == 404


@pytest.mark.parts
def test_the_page_fits_a_phone(page: Page, icons: IconJob, tmp_path: Path) -> None:
    text = TestClient(create_app(icons.ledger, icons.mill.settings)).get("/").text
    (tmp_path / "jobs.html").write_text(re.sub(r'src="[^"]*"', "", text))
    page.set_viewport_size({"width": 360, "height": 700})
    page.goto((tmp_path / "jobs.html").as_uri())
    expect(page.locator(".name")).to_have_text([JOB])
    assert page.evaluate("document.documentElement.scrollWidth") == 360
