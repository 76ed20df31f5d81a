"""What a plan says of the input files before any work: all that is wrong with them, at once."""

import random
from io import BytesIO, StringIO
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from flows.job.plan import FailingItem, Plan, make_plan
from flows.report.render import failing_rows, markdown_table, plan_document, render_plan
from gpu_worker.walk.prediction import Forecast
from storage.images import file_kinds
from tests.flows.job.workspace import Workspace, job
from tests.support.new_ledger import new_ledger

RECIPE = """\
name: thumb
steps:
  - {id: photo, step: load}
  - {id: small, step: resize, width: 9}
"""
PICTURE = Image.frombytes("RGB", (80, 60), random.Random(3).randbytes(80 * 60 * 3))


def file_of(format: str, **options: Any) -> bytes:
    file = BytesIO()
    PICTURE.save(file, format, **options)
    return file.getvalue()


@pytest.fixture
def photos(workspace: Workspace) -> Workspace:
    workspace.write("recipes/thumb.yaml", RECIPE)
    workspace.write("photos/good.png", file_of("PNG"))
    return workspace


def planned(workspace: Workspace, **settings: Any) -> Plan:
    request = workspace.request(job("recipe: thumb", "items: photos/"))
    workspace.settings = workspace.settings.model_copy(update=settings)
    return make_plan(request, new_ledger(workspace.folder / "ledger.db"), workspace.settings)


def told(workspace: Workspace, **settings: Any) -> dict[str, str]:
    """Item -> what is told of its file, without the file's path."""
    found = planned(workspace, **settings).failing
    return {each.item: each.message.removeprefix(f"{workspace.folder}/photos/") for each in found}


def test_every_bad_file_is_told_of_at_once_and_is_no_work(photos: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_kinds, "find_spec", lambda name: None)
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    photos.write("photos/page.jpg", b"<!doctype html><p>not found")
    photos.write("photos/phone.heic", b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf")
    photos.write("photos/nothing.png", b"")
    photos.write("photos/scan.tif", b"%PDF-1.7")
    photos.write("photos/cut.jpg", file_of("JPEG", progressive=True)[:-2])
    photos.write("photos/half.gif", file_of("GIF")[:3000])
    photos.write("photos/half.png", file_of("PNG")[:5000])
    found = told(photos)
    assert list(found) == ["cut", "half-gif", "half-png", "nothing", "page", "phone", "scan"]
    assert all("its end is missing" in found[name] for name in ("cut", "half-gif", "half-png"))
    assert found["nothing"].startswith("nothing.png: This is an empty file")
    assert found["page"].startswith("page.jpg: This is a web page")
    assert "install pixelmill[heif]" in found["phone"]
    assert found["scan"].startswith("scan.tif: This is a PDF")
    assert planned(photos).steps == {"photo": Forecast(computed=1), "small": Forecast(computed=1)}


def test_files_are_held_against_the_limits(photos: Workspace) -> None:
    photos.write("photos/heavy.bmp", b"\0" * 1_500_000)
    found = told(photos, max_pixels=4799, input_image_mb=1)
    assert "80 x 60 pixels, at most 4799 are allowed" in found["good"]
    assert "PIXELMILL_MAX_PIXELS" in found["good"]
    assert "PIXELMILL_INPUT_IMAGE_MB" in found["heavy"]


def test_a_file_that_the_recipe_takes_as_it_is_does_not_fail(photos: Workspace) -> None:
    photos.write("recipes/thumb.yaml", RECIPE.replace("load}", "load, damaged: accept}"))
    photos.write("photos/cut.jpg", file_of("JPEG", progressive=True)[:-2])
    photos.write("photos/page.jpg", b"<html>")
    assert list(told(photos)) == ["page"]


def test_an_item_that_comes_to_a_step_only_by_its_facts_may_fail(photos: Workspace) -> None:
    photos.write("recipes/thumb.yaml", RECIPE + '  - {id: again, step: load, when: "facts.small.width > 1"}\n')
    photos.write("photos/page.jpg", b"<html>")
    (failing,) = planned(photos).failing
    assert failing == FailingItem("page", "photo", failing.message, certain=True)
    late = (
        RECIPE.replace("load}", 'load, when: "vars.x"}') + "  - {id: again, step: load, when: facts.small.width > 1}\n"
    )
    photos.write("recipes/thumb.yaml", "vars: {x: true}\n" + late)
    assert [each.certain for each in planned(photos).failing] == [True]


def test_what_is_written_behind_a_jpegs_end_is_no_damage(photos: Workspace) -> None:
    photos.write("photos/phone.jpg", file_of("JPEG") + b"MotionPhoto" * 1000)
    assert told(photos) == {}


def test_files_with_other_frames_are_noticed(photos: Workspace) -> None:
    photos.write("photos/moving.gif", file_of("GIF", save_all=True, append_images=[PICTURE.rotate(90)]))
    (notice,) = planned(photos).notices
    assert notice.startswith("1 file has more frames or pages than the first, which alone is used: ")
    assert notice.endswith(" used: moving.gif")


def test_programs_the_terminal_and_the_prefect_ui_have_all_of_it(photos: Workspace) -> None:
    photos.write("photos/page.jpg", b"<html>")
    plan = planned(photos)
    document = plan_document(plan, photos.settings)
    assert [(each["item"], each["step"], each["certain"]) for each in document["failing"]] == [("page", "photo", True)]
    console = Console(file=StringIO(), width=200)
    render_plan(plan, photos.settings, console)
    assert "1 item would fail" in console.file.getvalue()
    assert "page.jpg: This is a web page" in console.file.getvalue()
    assert markdown_table(*failing_rows(document, 5)).count("This is a web page") == 1


def test_each_file_is_counted_as_it_is_looked_at(photos: Workspace) -> None:
    counted: list[int] = []
    request = photos.request(job("recipe: thumb", "items: photos/"))
    make_plan(request, new_ledger(photos.folder / "ledger.db"), photos.settings, advance=counted.append)
    assert counted == [1]
