"""The review page: what it shows, and where it may decide."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from starlette.testclient import TestClient

from configs.settings.settings import Settings
from flows.burst.review import decide
from flows.pages.gallery import finish_job
from flows.pages.review_page import ITEMS_PER_LIST, review_files
from flows.serve.app import create_app
from storage.ledger.records import ItemState, ReviewVerdict
from tests.support.browser import open_file, wait_for_script
from tests.support.jobs.refused_job import refused_job, states
from tests.support.jobs.verified_job import IconJob
from tests.support.mill import JOB

HERE = "http://127.0.0.1:4201"
PAGE = f"{JOB}/review.html"


@pytest.fixture
def job(refused: IconJob) -> IconJob:
    return refused


def client(
    job: IconJob, address: str = HERE, *, listens_here: bool = True, gallery_url: str | None = None
) -> TestClient:
    settings = job.mill.settings.model_copy(update={"gallery_url": gallery_url})
    return TestClient(create_app(job.ledger, settings, listens_here=listens_here), base_url=address)


def seen(job: IconJob, *names: str) -> dict[str, str]:
    return {name: str(job.report(name).record.refused_image) for name in names}


def rows(job: IconJob) -> list[list[Any]]:
    data = [job.store.get(key) for key, _ in job.store.list(f"{JOB}/review/")]
    return [row for each in data for row in json.loads(each.partition(b",")[2].rpartition(b")")[0])]


# -- what is written ---------------------------------------------------------------------------------------------------
def test_each_refused_item_has_its_image_its_reason_and_the_images_before(job: IconJob) -> None:
    names = [row[0] for row in rows(job)]
    assert names == ["first", "twin", "cut"]
    first = rows(job)[0]
    assert first[3] == "small"
    assert "too narrow: " in first[4] and "facts.this.width is 6" in first[4]
    assert first[6][0] == "small" and first[6][1] == f"../{job.artefact('first', 'small').key}"
    assert [image[0] for image in first[7]] == ["original"]


def test_decisions_are_on_the_page_once_it_is_written_again(job: IconJob) -> None:
    decide(JOB, {"first": None}, ReviewVerdict.REJECTED, reason="ugly", reviewer="mira", ledger=job.ledger)
    finish_job(job.job, job.ledger, job.mill.settings)
    assert rows(job)[0][8][:3] == ["rejected", "mira", "ugly"]
    assert len(list(job.store.list(f"{JOB}/review/"))) == 1, "the list of before is gone"


def test_a_damaged_list_is_written_anew(job: IconJob) -> None:
    before = rows(job)
    (key,) = (key for key, _ in job.store.list(f"{JOB}/review/"))
    job.truncate(key)
    finish_job(job.job, job.ledger, job.mill.settings)
    assert rows(job) == before


def test_a_job_without_refused_items_has_no_page(job: IconJob) -> None:
    assert job.store.exists(PAGE)
    decide(JOB, None, ReviewVerdict.ACCEPTED, reason=None, reviewer=None, ledger=job.ledger)
    job.ledger.reviews.release(JOB, ReviewVerdict.ACCEPTED)
    job.run()
    assert not job.store.exists(PAGE)
    assert list(job.store.list(f"{JOB}/review/")) == []


def test_many_items_lie_in_several_lists(job: IconJob) -> None:
    (one, *_) = job.ledger.reviews.refused_items(JOB)
    files = list(review_files(job.job, [one] * (ITEMS_PER_LIST + 1), lambda _: {}))
    assert [file.name.partition("-")[0] for file in files] == ["review/items", "review/items", "review.html"]


# -- what a server takes -----------------------------------------------------------------------------------------------
def test_the_page_of_this_machine_decides(job: IconJob) -> None:
    asked = client(job)
    assert asked.get(f"/reviews/{JOB}").json()["decides"] is True
    body = {"verdict": "accepted", "items": seen(job, "first", "cut"), "reason": "as meant"}
    answer = asked.post(f"/reviews/{JOB}", json=body, headers={"origin": HERE})
    assert (answer.status_code, answer.json()["waiting"]) == (200, 1)
    items = asked.get(f"/reviews/{JOB}").json()["items"]
    assert items["first"][1][0] == "accepted" and items["first"][1][2] == "as meant"
    assert items["twin"][1] is None


@pytest.mark.parametrize(
    ("address", "origin", "options"),
    [
        (HERE, None, {}),
        (HERE, "null", {}),
        (HERE, "https://evil.example", {}),
        (HERE, "http://127.0.0.1:9999", {}),
        ("http://gallery.example", "http://gallery.example", {}),
        ("http://evil.example", "http://evil.example", {}),
        (HERE, HERE, {"listens_here": False}),
        (HERE, HERE, {"gallery_url": "https://gallery.example"}),
    ],
    ids=["no-origin", "null", "foreign", "other-port", "proxy", "rebinding", "listens-everywhere", "behind-a-proxy"],
)
def test_nobody_else_does(job: IconJob, address: str, origin: str | None, options: dict[str, Any]) -> None:
    headers = {} if origin is None else {"origin": origin}
    body = {"verdict": "accepted", "items": seen(job, "first")}
    assert client(job, address, **options).post(f"/reviews/{JOB}", json=body, headers=headers).status_code == 403
    assert job.ledger.reviews.all(JOB) == []


def test_a_form_cannot_decide(job: IconJob) -> None:
    headers = {"origin": HERE, "content-type": "text/plain"}
    body = json.dumps({"verdict": "accepted", "items": seen(job, "first")})
    assert client(job).post(f"/reviews/{JOB}", content=body, headers=headers).status_code == 415
    assert job.ledger.reviews.all(JOB) == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"verdict": "maybe", "items": {"first": "f"}}, 400),
        ({"verdict": "accepted"}, 400),
        ({"verdict": "accepted", "items": {"first": "another image"}}, 409),
        ({"verdict": "accepted", "items": {"nobody": "f"}}, 409),
        ({"verdict": "accepted", "items": {}}, 409),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(job: IconJob, body: dict[str, Any], status: int) -> None:
    answer = client(job).post(f"/reviews/{JOB}", json=body, headers={"origin": HERE})
    assert (answer.status_code, bool(answer.json()["message"])) == (status, True)
    assert job.ledger.reviews.all(JOB) == []


def test_an_unknown_job_is_not_found(job: IconJob) -> None:
    assert client(job).get("/reviews/nothing").status_code == 404
    answer = client(job).post(
        "/reviews/nothing", json={"verdict": "accepted", "items": {"a": "b"}}, headers={"origin": HERE}
    )
    assert answer.status_code == 404


# -- in a browser ------------------------------------------------------------------------------------------------------
@pytest.mark.e2e
def test_from_a_folder_the_page_makes_the_command(page: Page, tmp_path: Path) -> None:
    job = refused_job(tmp_path)
    job.tamper("UPDATE items SET name = 'it''s <b>bold</b>' WHERE name = 'cut'")
    finish_job(job.job, job.ledger, job.mill.settings)
    open_file(page, tmp_path / "out" / JOB / "review.html")
    expect(page.locator("#summary")).to_contain_text("3 waiting")
    expect(page.locator(".item .name")).to_have_text(["first", "twin", "it's <b>bold</b>"])
    wait_for_script(page, "[...document.querySelectorAll('.picture img')].every((image) => image.naturalWidth)")
    for place in (0, 2):
        page.locator(".item input").nth(place).click()
    expect(page.locator("#command")).to_have_text([f"pixelmill accept -- {JOB} first 'it'\\''s <b>bold</b>'"])
    page.locator("#select-all").click()
    expect(page.locator("#command")).to_have_text([f"pixelmill accept --all {JOB}"])
    expect(page.locator("#buttons")).to_be_hidden()


@pytest.mark.e2e
def test_served_at_this_machine_the_page_decides_itself(page: Page, job: IconJob) -> None:
    import threading

    import uvicorn

    from flows.prefect_api.served_hosts import OnlyForThisMachine
    from flows.report.report import served_address

    app = OnlyForThisMachine(create_app(job.ledger, job.mill.settings, listens_here=True))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.05)
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        page.goto(str(served_address(job.store, PAGE, Settings(gallery_url=f"http://127.0.0.1:{port}"))))
        expect(page.locator("#buttons")).not_to_have_attribute("hidden", "")  # the server has answered
        page.locator(".item input").first.click()
        page.locator("#accept").click()
        expect(page.locator("#summary")).to_contain_text("2 waiting, 1 accepted")
    finally:
        server.should_exit = True
        thread.join()
    assert job.ledger.reviews.images_with(JOB, ReviewVerdict.ACCEPTED).keys() == {"first"}
    assert states(job)["first"] is ItemState.QUARANTINED
