"""What a model decides where the recipe leaves it open is noted on its images."""

import pytest
from PIL import Image

from configs.documents.notes import Notes
from steps.generate import Generate
from steps.inpaint import Inpaint
from tests.steps import images
from tests.support.step_context import Context

pytestmark = pytest.mark.parts


def test_size_and_sampler_are_those_of_the_model(context: Context) -> None:
    (result,) = Generate(model="tiny", steps=2).run([images.frame()], context)
    width, height = result.image.size
    assert Notes.of(result.image).drawn == {"Sampler": "ddim", "Size": f"{width}x{height}"}


def test_a_chosen_sampler_is_noted_by_the_name_that_recipes_have(context: Context) -> None:
    (result,) = Generate(model="tiny", steps=2, scheduler="euler").run([images.frame()], context)
    assert Notes.of(result.image).drawn["Sampler"] == "euler"


def test_an_image_that_is_painted_from_another_one_keeps_its_credits(context: Context) -> None:
    start = images.noise(37, 45)
    Notes(artist="Ann", more_frames=True).put_on(start)
    step = Generate(model="tiny", steps=4, from_image=True, strength=0.5)
    (result,) = step.run([images.frame(image=start)], context)
    assert Notes.of(result.image) == Notes(artist="Ann", drawn={"Sampler": "ddim", "Size": "37x45"})


def test_who_drew_the_whole_image_counts_not_who_filled_a_part(context: Context) -> None:
    mask = Image.new("L", (32, 32), 255)
    step = Inpaint(model="tiny", steps=2)
    photo, drawn = images.noise(32, 32), images.noise(32, 32)
    Notes(artist="Ann").put_on(photo)
    Notes(drawn={"Size": "16x16"}).put_on(drawn)
    (of_photo,) = step.run([images.frame(image=photo, files={"mask": mask})], context)
    (of_drawn,) = step.run([images.frame(image=drawn, files={"mask": mask})], context)
    assert Notes.of(of_photo.image) == Notes(artist="Ann", drawn={"Sampler": "ddim", "Size": "32x32"})
    assert Notes.of(of_drawn.image).drawn in ({}, {"Size": "16x16"})
