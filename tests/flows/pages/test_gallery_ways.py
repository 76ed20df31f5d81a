"""Why images came out so, as the gallery shows it: attempts, candidates, warnings, and the way itself."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from configs.documents.fields import Item
from configs.recipe.recipe import RecipeStep
from flows.explain.explain import Explainer
from flows.pages.gallery import gallery_files, write_gallery
from flows.report.contact_sheet import last_final, write_contact_sheet
from flows.report.report import Summary
from storage.ledger.records import ItemState
from storage.objects.keys import job_key
from tests.support.browser import open_file
from tests.support.mill import Mill
from tests.support.null.jobs import brightness_of, null_job
from tests.support.null.recipes import null_steps_known

HOSTILE = "</script><img src=x onerror=\"document.title='injected'\">"
# base is made anew for whom it is too bright, at most three times in all; then one of two scenes; then a warning.
RECIPE: dict[str, Any] = {
    "name": "checked",
    "steps": [
        {
            "id": "base",
            "step": "null_generate",
            "require": [{"that": "facts.this.brightness < 0.5", "because": "too bright"}],
            "on_fail": {"retry": 2},
        },
        {"best_of": 2, "by": "facts.this.brightness", "steps": [{"id": "scene", "step": "null_generate"}]},
        {"id": "last", "step": "null_pass", "require": ["vars.mood != 'dark'"], "on_fail": "warn"},
    ],
}


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    with null_steps_known():
        items = [
            Item(index=index, name=f"i{index}", seed=index, vars={"mood": ["dark", "fair", HOSTILE][index % 3]})
            for index in range(24)
        ]
        made = null_job(tmp_path_factory.mktemp("job"), RECIPE, items)
        yield made
        made.ledger.close()


@pytest.fixture(scope="module")
def index(mill: Mill) -> Path:
    job = mill.ledger.jobs.get("job")
    key = write_gallery(mill.store, mill.ledger, job, summary=Summary(job=job.id, status=job.status))
    return Path(mill.store.uri(key))


def made_three_times(mill: Mill, state: ItemState = ItemState.DONE) -> int:
    """The first item in this state whose base is its third."""
    reports = mill.reports()
    return next(each.record.item.index for each in reports if "base~3" in each.steps and each.record.state is state)


def open_item(page: Page, index: Path, place: int) -> None:
    open_file(page, index, f"#item={place}")
    expect(page.locator("#strip button[aria-pressed=true]")).to_be_visible()


def open_way(page: Page) -> None:
    """Unfold the way, unless the item before left it unfolded."""
    if page.locator(".way").get_attribute("open") is None:
        page.locator(".way summary").click()


# -- files -----------------------------------------------------------------------------------------------------------
def test_the_ways_are_read_apart_from_everything_else(mill: Mill, index: Path) -> None:
    names = sorted(key.rpartition("/")[2].partition("-")[0] for key, _ in mill.store.list(job_key("job", "gallery/")))
    assert names == ["details", "items", "ways"]
    assert [path for path in (index.parent / "gallery").iterdir() if "gate base" in path.read_text()] == [
        *(index.parent / "gallery").glob("ways-*.js")
    ]


def test_items_with_many_images_are_read_in_smaller_parts(mill: Mill) -> None:
    job = mill.ledger.jobs.get("job")
    steps = tuple(RecipeStep(id=f"s{number}", step="null_generate") for number in range(40))
    wide = replace(job, recipe=job.recipe.model_copy(update={"steps": steps}))
    explanation = Explainer(wide).explain(mill.ledger.items.report("job", 0))
    files = gallery_files(wide, Summary(job=job.id, status=job.status), [explanation] * 120)
    assert sum("ways" in file.name for file in files) == 3


def test_an_item_whose_final_is_a_later_attempt_is_in_the_contact_sheet(mill: Mill) -> None:
    job = mill.ledger.jobs.get("job")
    record = replace(mill.ledger.items.find("job")[0], finals={"base~2": "job/final/a.png"})
    assert last_final(job, record) == ("base~2", "job/final/a.png")
    assert write_contact_sheet(mill.store, mill.ledger, job) is not None


# -- in a browser ----------------------------------------------------------------------------------------------------
@pytest.mark.parts
def test_the_strip_has_every_attempt(page: Page, mill: Mill, index: Path) -> None:
    place = made_three_times(mill)
    open_item(page, index, place)
    expect(page.locator("#strip b")).to_have_text(
        ["base", "base, attempt 2", "base, attempt 3", "scene", "scene, attempt 2", "last"]
    )
    aside = page.locator("#strip .aside b").all_text_contents()
    values = [brightness_of(mill, visit, place) for visit in ("scene", "scene~2")]
    assert aside[:2] == ["base", "base, attempt 2"]
    assert aside[2:] == ["scene" if values[1] > values[0] else "scene, attempt 2"]


@pytest.mark.parts
def test_an_image_is_compared_with_the_one_that_it_was_made_of(page: Page, mill: Mill, index: Path) -> None:
    """Both candidates were made of the same image, not one of the other."""
    open_item(page, index, made_three_times(mill))
    for number, label in ((4, "scene"), (5, "scene, attempt 2")):
        page.locator(f"#strip li:nth-child({number}) button").click()
        expect(page.locator("#tag-before, #tag-after")).to_have_text(["Before: base, attempt 3", f"After: {label}"])


@pytest.mark.parts
def test_the_way_is_read_when_somebody_asks(page: Page, mill: Mill, index: Path) -> None:
    place = made_three_times(mill)
    open_item(page, index, place)
    expect(page.locator("script[src*=ways]")).to_have_count(0)
    open_way(page)
    expect(page.locator(".way li").nth(5)).to_be_visible()
    lines = page.locator(".way li").all_text_contents()
    assert lines[0].startswith("base null_generate · computed in")
    assert "gate base passed at attempt 3" in lines
    assert any(line.startswith("facts.this.brightness < 0.5 too bright (facts.this.brightness is ") for line in lines)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#item-name")).to_have_text(f"i{place + 1}")
    expect(page.locator(".way li").nth(5)).to_be_visible()


@pytest.mark.parts
def test_a_step_of_the_way_shows_its_image(page: Page, mill: Mill, index: Path) -> None:
    open_item(page, index, made_three_times(mill))
    open_way(page)
    page.locator(".way").get_by_role("button", name="base, attempt 2", exact=True).first.click()
    expect(page.locator("#strip button[aria-pressed=true] b")).to_have_text(["base, attempt 2"])
    assert "Step base, attempt 2" in page.locator("#info h3").all_text_contents()


@pytest.mark.parts
def test_a_quarantined_item_says_at_which_gate(page: Page, mill: Mill, index: Path) -> None:
    place = made_three_times(mill, ItemState.QUARANTINED)
    open_item(page, index, place)
    [reason] = page.locator("#info .error").all_text_contents()
    assert reason.startswith("At step base: too bright: facts.this.brightness < 0.5 is not met")
    expect(page.locator("#strip button[aria-pressed=true] b")).to_have_text(["base, attempt 3"])


@pytest.mark.parts
def test_warned_items_can_be_found(page: Page, mill: Mill, index: Path) -> None:
    warned = [record.item.name for record in mill.ledger.items.find("job") if record.warnings]
    assert warned
    open_file(page, index, "#status=warned")
    expect(page.locator("#result")).to_have_text(re.compile(f"^{len(warned)} image"))
    assert page.locator(".card .name").all_text_contents() == warned
    assert set(page.locator(".card .warned").all_text_contents()) == {"1 warning"}
    page.locator(".card").first.click()
    expect(page.locator(".warnings li").first).to_contain_text("vars.mood != 'dark' is not met")


@pytest.mark.parts
def test_hostile_values_stay_text(page: Page, mill: Mill, index: Path) -> None:
    place = next(
        report.record.item.index
        for report in mill.reports()
        if report.record.item.vars["mood"] == HOSTILE and report.record.state is ItemState.DONE
    )
    open_item(page, index, place)
    open_way(page)
    expect(page.locator(".way li").first).to_be_visible()
    assert any("onerror" in line for line in page.locator(".way li").all_text_contents())
    expect(page.locator(".way img")).to_have_count(0)
    assert page.title() == "job · Pixelmill gallery"


@pytest.mark.parts
def test_a_recipe_that_cannot_be_followed_shows_what_was_recorded(
    page: Page, errors: list[str], mill: Mill, tmp_path: Path
) -> None:
    job = mill.ledger.jobs.get("job")
    gone = RecipeStep(id="gone", step="no_such_step")
    old = replace(job, recipe=job.recipe.model_copy(update={"steps": (*job.recipe.steps, gone)}))
    place = made_three_times(mill)
    explanation = Explainer(old).explain(mill.ledger.items.report("job", place))
    for file in gallery_files(old, Summary(job=job.id, status=job.status), [explanation]):
        path = tmp_path / file.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(file.data)
    open_item(page, tmp_path / "index.html", 0)
    errors.clear()  # the images are elsewhere
    assert page.locator("#strip b").all_text_contents() == [
        "base",
        "base, attempt 2",
        "base, attempt 3",
        "scene",
        "scene, attempt 2",
        "last",
        "gone",
    ]
    open_way(page)
    expect(page.locator(".way li").first).to_be_visible()
    assert page.locator(".way li").all_text_contents()[0].startswith("the recipe cannot be followed here")
    errors.clear()
