"""judge: what it measures, what decides its facts, and what is refused before any work."""

from typing import Any

import pytest
from pydantic import ValidationError

from configs.catalogues.models import ModelRef
from configs.documents.problems import InvalidInput
from configs.recipe.recipe import Recipe
from steps.contract import Frame
from steps.judge import MEASURES, Judge, RecognizedLine
from steps.recipe import resolve_program
from tests.steps import images
from tests.support.step_context import Context


def judge(*measure: str, **fields: Any) -> Judge:
    return Judge.model_validate({"model": "tiny", "measure": list(measure), **fields})


def facts(step: Judge, context: Context, image: Any, **item: Any) -> dict[str, Any]:
    return dict(step.run([images.frame(image=image, **item)], context)[0].facts)


class Reader:
    def read(self, pictures: Any) -> list[list[RecognizedLine]]:
        return [
            [RecognizedLine("Hello mill", 0.9), RecognizedLine("dust", 0.2), RecognizedLine("42 %", 0.5)]
            for _ in pictures
        ]


# -- what is measured ------------------------------------------------------------------------------------------------


@pytest.mark.parts
def test_only_what_is_asked_for_is_measured_and_loaded(context: Context) -> None:
    found = facts(judge("nsfw"), context, images.noise(40, 40))
    assert set(found) == {"nsfw"}
    assert {ref.role for ref in context.asked} == {"nsfw"}


@pytest.mark.parts
def test_a_palette_needs_no_model(context: Context) -> None:
    step = Judge(palette=("red", "#008080"))
    assert step.model_refs() == ()
    assert set(facts(step, context, images.disc())) == {"palette_distance"}
    assert context.asked == []


@pytest.mark.parts
def test_an_empty_image_has_no_palette(context: Context) -> None:
    assert facts(Judge(palette=("red",)), context, images.disc().resize((8, 8)).point(lambda _: 0)) == {}


@pytest.mark.parts
def test_aesthetic_reads_the_vectors_of_the_models_clip_part(context: Context) -> None:
    step = judge("aesthetic")
    assert step.model_refs() == (ModelRef("tiny", "clip"), ModelRef("tiny", "aesthetic"))
    assert set(facts(step, context, images.noise(40, 40))) == {"aesthetic"}


@pytest.mark.parts
def test_an_image_is_seen_by_clip_once(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = context.model(ModelRef("tiny", "clip"))
    seen = []
    monkeypatch.setattr(clip, "image_vectors", lambda few: seen.append(len(few)) or type(clip).image_vectors(clip, few))
    judge("clip", "aesthetic").run([images.frame(i, images.noise(40, 40, seed=i)) for i in range(3)], context)
    assert seen == [3]


@pytest.mark.parts
def test_transparent_pixels_are_seen_as_the_background(context: Context) -> None:
    cutout = images.disc(under=99)
    white, black = (facts(judge("nsfw", background=color), context, cutout) for color in ("white", "black"))
    assert white != black
    assert white == facts(judge("nsfw"), context, images.disc(under=7))


def test_unsure_lines_of_text_are_left_out() -> None:
    context = Context({"text": Reader})
    assert facts(judge("text"), context, images.noise(9, 9)) == {"text": "Hello mill 42 %", "text_length": 12}
    assert facts(judge("text", text_confidence=0.95), context, images.noise(9, 9)) == {"text": "", "text_length": 0}


def test_a_long_text_is_cut_but_counted() -> None:
    class Babbler:
        def read(self, pictures: Any) -> list[list[RecognizedLine]]:
            return [[RecognizedLine("word" * 200, 1.0)] for _ in pictures]

    found = facts(judge("text"), Context({"text": Babbler}), images.noise(9, 9))
    assert (len(found["text"]), found["text_length"]) == (500, 800)


@pytest.mark.parts
def test_a_prompt_that_names_nothing_known_gives_only_what_is_seen(context: Context) -> None:
    found = facts(judge("classifier"), context, images.disc(), prompt="a wistful afternoon")
    assert set(found) == {"seen"}


@pytest.mark.parts
def test_an_item_without_a_prompt_can_be_classified(context: Context) -> None:
    step = judge("classifier")
    assert step.item_problems(images.item(prompt=None)) == []
    assert set(facts(step, context, images.disc(), prompt=None)) == {"seen"}


@pytest.mark.parts
def test_a_match_of_what_is_named_alone(context: Context) -> None:
    found = facts(judge("classifier"), context, images.disc(), prompt="a potion")
    assert found["prompt_match"] == found["object_match"]
    assert "color_match" not in found


@pytest.mark.parts
def test_numbers_that_are_none_fail_the_item(context: Context) -> None:
    class Broken:
        def shares(self, pictures: Any) -> list[float]:
            return [float("nan") for _ in pictures]

    with pytest.raises(ValueError, match="item-0: the model gave no number for nsfw"):
        facts(judge("nsfw"), Context({"nsfw": Broken}), images.noise(9, 9))


# -- what decides the facts ------------------------------------------------------------------------------------------


def test_the_prompt_decides_only_where_a_measure_reads_it() -> None:
    one, other = images.item(prompt="a red key"), images.item(prompt="a blue key")
    assert judge("clip").identity(one) != judge("clip").identity(other)
    assert judge("nsfw").identity(one) == judge("nsfw").identity(other)
    assert judge("nsfw", prompt="{name}").identity(one) == judge("nsfw").identity(one)


def test_the_seed_never_decides() -> None:
    step = judge(*MEASURES)
    assert step.identity(images.item(seed=1)) == step.identity(images.item(seed=2))


def test_order_and_names_of_colors_do_not_decide() -> None:
    one, other = judge("clip", "nsfw", palette=["red", "teal"]), judge("nsfw", "clip", palette=["#008080", "#ff0000"])
    assert one.identity(images.item()) == other.identity(images.item())


@pytest.mark.parts
def test_a_batch_changes_nothing(context: Context) -> None:
    step = judge("classifier", "clip", "aesthetic", "nsfw", palette=["red"])
    prompts = ["a red key", "a coin, gold, with a rather long description of it", "something", "teal star"]
    frames = [images.frame(i, images.noise(40, 40, seed=i), prompt=prompt) for i, prompt in enumerate(prompts)]
    together = [result.facts for result in step.run(frames, context)]
    assert together == [step.run([frame], context)[0].facts for frame in frames]
    assert together[::-1] == [result.facts for result in step.run(frames[::-1], context)]


@pytest.mark.parts
def test_facts_stay_within_their_bounds(context: Context) -> None:
    step = judge("classifier", "clip", "nsfw", palette=["red"])
    found = facts(step, context, images.noise(40, 40), prompt="a red key")
    assert all(0 <= found[name] <= 1 for name in ("object_match", "color_match", "prompt_match", "nsfw"))
    assert -1 <= found["clip_score"] <= 1
    assert 0 <= found["palette_distance"] <= 130


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "give it something to measure"),
        ({"measure": ["clip"]}, "needs a model to measure clip"),
        ({"model": "starter"}, "`measure` is empty for starter"),
        ({"model": "starter", "palette": ["red"]}, "`measure` is empty for starter"),
        ({"model": "starter", "measure": ["clip", "clip"]}, "names one measure twice"),
        ({"model": "starter", "measure": ["beauty"]}, "measure.0"),
        ({"palette": ["no such color"]}, "is not a color"),
        ({"palette": ["red"], "prompt": "{a.b}"}, "is not a placeholder"),
    ],
)
def test_mistakes_are_refused_with_what_to_change(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Judge.model_validate(fields)


def test_clip_needs_a_prompt() -> None:
    assert "leave `clip` out" in judge("clip").item_problems(images.item(prompt=" "))[0]
    assert judge("clip", prompt="an icon of {name}").item_problems(images.item(prompt=None)) == []


def test_a_placeholder_without_a_variable_is_refused() -> None:
    assert "no variable 'style'" in judge("clip", prompt="{style}").item_problems(images.item())[0]
    assert judge("nsfw", prompt="{style}").item_problems(images.item()) == []


def test_a_condition_on_a_fact_that_this_judge_does_not_measure_is_refused() -> None:
    def recipe(condition: str) -> Recipe:
        steps = [
            {"id": "photo", "step": "load"},
            {"id": "seen", "step": "judge", "model": "starter", "measure": ["classifier"]},
            {"id": "small", "step": "resize", "width": 9, "when": condition},
        ]
        return Recipe.model_validate({"name": "judged", "steps": steps})

    assert len(resolve_program(recipe("facts.seen.prompt_match > 0.5")).visits) == 3
    with pytest.raises(InvalidInput, match="measures no `aesthetic`"):
        resolve_program(recipe("facts.seen.aesthetic > 5"))


@pytest.mark.parts
def test_a_frame_of_any_mode_comes_back_as_the_same_object(context: Context) -> None:
    for image in (images.noise(40, 40), images.disc()):
        frame = Frame(images.item(), image)
        assert judge("nsfw").run([frame], context)[0].image is image
