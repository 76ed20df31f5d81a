"""The gallery as files, and the gallery as a person uses it in a browser."""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Page, expect

from flows.explain.explain import Explainer, Explanation
from flows.pages.gallery import GALLERY_NAME, gallery_files, write_gallery
from flows.pages.page_parts import PageFile, relative_link
from flows.report.report import Summary
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemReport, ItemState, JobRecord, Outcome, StepOutcome
from storage.objects.folder_store import FolderStore
from storage.objects.keys import final_key, job_key
from tests.support.browser import open_file, wait_for_script
from tests.support.jobs.sprite_job import (
    HOSTILE_NAMES,
    RECIPE,
    record_sprite_job,
    sprite_item,
    sprite_job,
    sprite_reports,
)

TOTAL = 60


def summary_of(job: JobRecord) -> Summary:
    return Summary(job=job.id, status=job.status, seconds=83.4)


def explained(job: JobRecord, reports: Iterable[ItemReport]) -> Iterator[Explanation]:
    """The recipe of the drawn job is none that could run: what was recorded is shown all the same."""
    return map(Explainer(job).explain, reports)


def rows(file: PageFile) -> list[list]:
    """The JSON inside a script file."""
    return json.loads(re.fullmatch(rb"pixelmill\.\w+\(\d+,(.*)\);\n", file.data, re.DOTALL)[1])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FolderStore:
    # A folder whose own name needs encoding, as a user's may.
    return FolderStore(tmp_path_factory.mktemp("out put #1"))


@pytest.fixture(scope="module")
def job(store: FolderStore) -> JobRecord:
    return sprite_job(store, total=TOTAL)


@pytest.fixture(scope="module")
def reports(job: JobRecord, store: FolderStore) -> list[ItemReport]:
    return list(sprite_reports(job, store, TOTAL, size=32))


@pytest.fixture(scope="module")
def gallery(job: JobRecord, reports: list[ItemReport]) -> dict[str, PageFile]:
    return {file.name: file for file in gallery_files(job, summary_of(job), explained(job, reports))}


# -- files -----------------------------------------------------------------------------------------------------------


def test_page_comes_last_and_needs_nothing_from_elsewhere(gallery: dict[str, PageFile]) -> None:
    assert list(gallery)[-1] == GALLERY_NAME
    page = gallery[GALLERY_NAME].data.decode()
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(""", page)


def test_hostile_names_stay_out_of_the_page(gallery: dict[str, PageFile]) -> None:
    page = gallery[GALLERY_NAME].data.decode()
    assert not [name for name in HOSTILE_NAMES if name in page]


def test_hostile_job_name_is_escaped(job: JobRecord) -> None:
    hostile = replace(job, name="</title><script>alert(1)</script>", error="<img src=x onerror=alert(1)>")
    *_, page = gallery_files(hostile, summary_of(hostile), explained(hostile, []))
    assert b"<script>alert" not in page.data
    assert b"<img src=x" not in page.data


def test_tracebacks_are_not_shown_around(gallery: dict[str, PageFile]) -> None:
    assert not [name for name, file in gallery.items() if b"secret/path" in file.data]


def test_every_link_leads_to_an_object(job: JobRecord, store: FolderStore, gallery: dict[str, PageFile]) -> None:
    links = [
        link for name, file in gallery.items() if "details" in name for row in rows(file) for link in links_of(row)
    ]
    assert len(links) > 3 * TOTAL
    for link in links:
        assert store.exists(unquote(urlsplit(urljoin(f"http://bucket/{job.name}/index.html", link)).path)[1:]), link


def links_of(row: list) -> Iterator[str]:
    yield from (link for _, link in row[6])
    yield from (step[3] for step in row[7] if step and len(step) > 3)


def test_addresses_of_inputs_are_shown_without_their_signatures(job: JobRecord, reports: list[ItemReport]) -> None:
    item = reports[0].record.item
    signed = item.model_copy(update={"image": "https://h/a.png?sig=5ecret", "mask": "https://h/m.png?sig=5ecret#x"})
    report = replace(reports[0], record=replace(reports[0].record, item=signed))
    files = list(gallery_files(job, summary_of(job), explained(job, [report])))
    assert not any(b"5ecret" in file.data for file in files)
    (details,) = (file for file in files if "details" in file.name)
    assert rows(details)[0][3:5] == ["https://h/a.png", "https://h/m.png"]


def test_seeds_and_large_numbers_survive_javascript(gallery: dict[str, PageFile]) -> None:
    [details] = [file for name, file in gallery.items() if "details" in name]
    first = rows(details)[0]
    assert first[1] == str(2**63 - 1)
    assert ["big", str(2**60)] in first[2]


def test_artefact_of_another_store_has_no_link(job: JobRecord, reports: list[ItemReport]) -> None:
    step = reports[0].steps["generate"]
    elsewhere = replace(step, artefact=replace(step.artefact, root="s3://elsewhere"))
    details, *_ = gallery_files(
        job, summary_of(job), explained(job, [replace(reports[0], steps={"generate": elsewhere})])
    )
    assert rows(details)[0][7][0][3] is None


def test_facts_that_json_cannot_hold_become_text(job: JobRecord, reports: list[ItemReport]) -> None:
    step = reports[0].steps["generate"]
    odd = replace(step, artefact=replace(step.artefact, facts={"sharpness": float("nan"), "box": [1, 2]}))
    details, *_ = gallery_files(job, summary_of(job), explained(job, [replace(reports[0], steps={"generate": odd})]))
    assert rows(details)[0][7][0][9] == [["sharpness", "nan"], ["box", "[1, 2]"]]


@pytest.mark.parts
def test_large_jobs_are_read_in_slices(job: JobRecord, reports: list[ItemReport]) -> None:
    taken = 0

    def many() -> Iterator[ItemReport]:
        nonlocal taken
        for index in range(2_300):
            taken += 1
            yield replace(reports[0], record=replace(reports[0].record, item=sprite_item(index)))

    files = gallery_files(job, summary_of(job), explained(job, many()))
    next(files)
    assert taken == 200
    names = [file.name for file in files]
    assert (sum("items" in name for name in names), sum("details" in name for name in names)) == (2, 11)


def test_job_without_items_has_a_page(job: JobRecord) -> None:
    [page] = gallery_files(job, summary_of(job), explained(job, []))
    assert b"0 images" in page.data


def test_step_that_left_the_recipe_is_ignored(job: JobRecord, reports: list[ItemReport]) -> None:
    stray = {**reports[0].steps, "former": StepOutcome(0, Outcome.COMPUTED)}
    details, *_ = gallery_files(job, summary_of(job), explained(job, [replace(reports[0], steps=stray)]))
    assert len(rows(details)[0][7]) == len(RECIPE.steps)


@given(name=st.text(min_size=1).filter(lambda name: "/" not in name and name not in (".", "..") and name.isprintable()))
def test_link_finds_its_way_back_to_the_key(name: str) -> None:
    key = final_key("job", name, "png")
    link = relative_link("job", key)
    assert link.isascii()
    url = urlsplit(urljoin("https://example.org/bucket/job/index.html?x#y", link))
    assert (unquote(url.path), url.query, url.fragment) == (f"/bucket/{key}", "", "")


# -- in a store ------------------------------------------------------------------------------------------------------


def test_new_gallery_leaves_nothing_of_the_one_before(ledger: Ledger, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "out")
    job = record_sprite_job(ledger, store, total=30)
    key = write_gallery(store, ledger, job, summary=summary_of(job))
    before = {key for key, _ in store.list(job_key(job.name, "gallery/"))}
    assert write_gallery(store, ledger, job, summary=summary_of(job)) == key
    assert {key for key, _ in store.list(job_key(job.name, "gallery/"))} == before
    ledger.items.reset(job.id, states=[ItemState.FAILED])
    write_gallery(store, ledger, job, summary=summary_of(job))
    after = {key for key, _ in store.list(job_key(job.name, "gallery/"))}
    assert len(after) == len(before) == 3
    assert after != before
    page = store.get(key).decode()
    assert all(key.removeprefix(f"{job.name}/") in page for key in after)


# -- in a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def index(job: JobRecord, store: FolderStore, gallery: dict[str, PageFile]) -> Path:
    for file in gallery.values():
        store.replace(job_key(job.name, file.name), file.data, content_type=file.content_type)
    return Path(store.uri(job_key(job.name, GALLERY_NAME)))


def show(page: Page, index: Path, fragment: str, result: str) -> None:
    open_file(page, index, fragment)
    expect(page.locator("#result")).to_have_text(result)


def open_item(page: Page, index: Path, place: int, filters: str = "") -> None:
    open_file(page, index, f"#{filters}item={place}")
    expect(page.locator("#strip button[aria-pressed=true]")).to_be_visible()


@pytest.mark.parts
def test_every_item_has_a_card_with_its_image(page: Page, index: Path, reports: list[ItemReport]) -> None:
    show(page, index, "", "60 images")
    assert page.locator(".card .name").all_text_contents() == [report.record.item.name for report in reports]
    expect(page.locator(".card .badge")).to_have_text([str(report.record.state) for report in reports])
    # Lazy loading leaves the images below the fold alone; here every one is wanted.
    page.evaluate("document.querySelectorAll('.card img').forEach((image) => { image.loading = 'eager'; })")
    wait_for_script(
        page, "[...document.querySelectorAll('.card img[src]')].filter((image) => image.naturalWidth).length === 57"
    )
    expect(page.locator(".card img[src]")).to_have_count(57)
    assert page.evaluate("[...document.querySelectorAll('.card img[src]')].every((image) => image.alt)")


@pytest.mark.parts
@pytest.mark.parametrize(
    ("fragment", "result"),
    [
        ("#status=failed", "6 images"),
        ("#status=quarantined", "4 images"),
        ("#step=repair", "14 images"),
        ("#step=repair&outcome=skipped", "36 images"),
        ("#step=repair&outcome=unreached", "10 images"),
        ("#q=RED+potion", "1 image"),
        ("#status=done&q=potion&step=generate&outcome=reused", "3 images"),
    ],
)
def test_address_filters(page: Page, index: Path, fragment: str, result: str) -> None:
    show(page, index, fragment, result)


@pytest.mark.parts
def test_counts_of_a_step_filter_by_it(page: Page, index: Path) -> None:
    show(page, index, "", "60 images")
    for step, outcome in [("generate", "failed"), ("generate", "reused"), ("repair", "skipped")]:
        button = f'[data-step="{step}"][data-outcome="{outcome}"]'
        [count] = page.locator(f"{button} b").all_text_contents()
        page.locator(button).click()
        expect(page.locator("#result")).to_have_text(f"{count} images")


@pytest.mark.parts
def test_search_by_keyboard(page: Page, index: Path) -> None:
    show(page, index, "", "60 images")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.insert_text("out of memory")
    expect(page.locator("#result")).to_have_text("3 images")
    expect(page).to_have_url(re.compile("#q=out\\+of\\+memory$"))


@pytest.mark.parts
def test_sorted_with_troubled_items_first(page: Page, index: Path) -> None:
    show(page, index, "#sort=state", "60 images")
    assert page.locator(".card .badge").all_text_contents() == ["failed"] * 6 + ["quarantined"] * 4 + ["done"] * 50


@pytest.mark.parts
def test_nothing_found_offers_a_way_back(page: Page, index: Path) -> None:
    open_file(page, index, "#q=no+such+image")
    expect(page.locator("#empty")).to_be_visible()
    page.locator("#clear").click()
    expect(page.locator("#result")).to_have_text("60 images")


@pytest.mark.parts
def test_hostile_texts_neither_run_nor_turn_into_markup(page: Page, index: Path) -> None:
    show(page, index, "", "60 images")
    for place in (3, 8, 9, 13):
        open_item(page, index, place)
        expect(page.locator(".info img, .info b b, .info td b, .name *")).to_have_count(0)
    assert page.title() == "spring-icons · Pixelmill gallery"
    expect(page.locator(".card img")).to_have_count(TOTAL)


@pytest.mark.parts
def test_no_other_script_runs_in_the_page(page: Page, errors: list[str], index: Path) -> None:
    show(page, index, "", "60 images")
    page.evaluate(
        """(() => {
          const script = document.createElement("script");
          script.textContent = "document.title = 'injected'";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", `<img src="x" onerror="document.title = 'injected'">`);
          document.body.insertAdjacentHTML("beforeend", `<a id="bad" href="javascript:document.title='bad'">x</a>`);
          document.getElementById("bad").click();
        })()"""
    )
    wait_for_script(page, "[...document.querySelectorAll('body > img')].every((image) => image.complete)")
    while sum("Content Security Policy" in error for error in errors) < 3:  # bounded by the test's own timeout
        page.wait_for_timeout(20)
    assert page.title() == "spring-icons · Pixelmill gallery"
    errors.clear()


@pytest.mark.parts
def test_item_shows_its_steps_and_compares_them(page: Page, index: Path, reports: list[ItemReport]) -> None:
    open_item(page, index, 4)
    item = reports[4].record.item
    expect(page.locator("#item-name")).to_have_text([item.name])
    expect(page.locator("#strip b")).to_have_text(["generate", "cut_out", "repair", "upscale"])
    expect(page.locator("#tag-before, #tag-after")).to_have_text(["Before: repair", "After: upscale"])
    [info] = page.locator("#info").all_text_contents()
    for text in (item.prompt, item.negative_prompt, str(item.seed), reports[4].steps["upscale"].artefact.fingerprint):
        assert text in info
    wait_for_script(
        page,
        "document.getElementById('before').naturalWidth === 32"
        " && document.getElementById('after').naturalWidth === 128",
    )


@pytest.mark.parts
def test_skipped_step_says_what_it_passed_on(page: Page, index: Path) -> None:
    open_item(page, index, 1)
    page.locator("#strip li:nth-child(3) button").click()
    expect(page.locator("#tag-after")).to_have_text(["Unchanged since cut_out"])
    assert "cut_out.alpha_coverage < 0.2" in page.locator("#info").all_text_contents()[0]


@pytest.mark.parts
def test_failed_item_says_why(page: Page, index: Path, reports: list[ItemReport]) -> None:
    open_item(page, index, 9)
    expect(page.locator("#info .error")).to_have_text([f"At step generate: {reports[9].record.error}"])
    expect(page.locator("#message")).to_be_visible()


@pytest.mark.parts
def test_arrow_keys_walk_through_what_was_found(page: Page, index: Path, reports: list[ItemReport]) -> None:
    failed = [report.record.item for report in reports if report.record.state == "failed"]
    open_item(page, index, failed[0].index, "status=failed&")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#item-name")).to_have_text(failed[1].name)
    expect(page.locator("#position")).to_have_text(["2 of 6"])
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#item-name")).to_have_text(failed[0].name)
    page.keyboard.press("Escape")
    expect(page.locator("#dialog")).to_be_hidden()
    expect(page).to_have_url(re.compile("#status=failed$"))


@pytest.mark.parts
def test_card_opens_its_item_and_back_closes_it(page: Page, index: Path, reports: list[ItemReport]) -> None:
    show(page, index, "#status=done", "50 images")
    page.locator(".card").first.click()
    expect(page.locator("#dialog")).to_be_visible()
    expect(page.locator("#item-name")).to_have_text([reports[0].record.item.name])
    page.go_back()
    expect(page.locator("#dialog")).to_be_hidden()
    expect(page).to_have_url(re.compile("#status=done$"))


@pytest.mark.parts
def test_a_gallery_of_ten_thousand_opens_in_two_seconds_with_200_cards_a_page(
    page: Page, job: JobRecord, reports: list[ItemReport], tmp_path: Path
) -> None:
    failed = reports[9]  # without an image: no file needs to be there
    store, large = FolderStore(tmp_path), replace(job, name="large")
    many = (
        replace(failed, record=replace(failed.record, item=sprite_item(index).model_copy(update={"name": str(index)})))
        for index in range(10_000)
    )
    for file in gallery_files(large, summary_of(large), explained(large, many)):
        store.replace(job_key(large.name, file.name), file.data, content_type=file.content_type)
    seconds = []
    for _ in range(3):  # the best of them: the machine may be busy
        began = time.perf_counter()
        show(page, tmp_path / "large" / GALLERY_NAME, "#page=49", "9,601 to 9,800 of 10,000 images")
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 2
    # By the keyboard: cards get their heights only when they come into view, and the button then moves below the mouse.
    page.locator("#next-page").press("Enter")
    expect(page.locator("#page-label")).to_have_text("Page 50 of 50")
    assert page.locator(".card .name").all_text_contents() == [str(index) for index in range(9_800, 10_000)]
    page.locator(".card").first.click()
    expect(page.locator("#info td").first).to_be_visible()
