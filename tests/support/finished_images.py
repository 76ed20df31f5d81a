"""Images as a worker makes them, for the tests that make them again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from configs.settings.settings import Settings
from gpu_worker.device.runtime import get_runtime
from steps.recipe import resolve_program
from storage.images.png_recipe import ImageRecipe, Provenance, png_chunks
from storage.objects.keys import fingerprint
from tests.support.mill import Mill

TRANSFORMS = [{"step": "load"}, {"step": "resize", "width": 20}, {"step": "pad", "margin": 3}]


def settings_for(folder: Path, **values: object) -> Settings:
    return Settings.model_validate({"home": folder / "home", "device": "cpu", **values})


def photo(folder: Path, name: str = "photo.png", color: str = "red") -> Path:
    image = Image.new("RGB", (32, 24), "white")
    image.paste(color, (5, 6, 20, 19))
    image.save(folder / name)
    return folder / name


def finished(folder: Path, steps: Sequence[Mapping[str, Any]], **fields: Any) -> Path:
    """The final of one item that went through the steps, as a worker stored it."""
    recipe = Recipe.model_validate(
        {"name": "recipe", "steps": [{"id": f"s{number}", **step} for number, step in enumerate(steps)]}
    )
    item = Item.model_validate({"index": 0, "name": "icon", "seed": 11, **fields})
    runtime = get_runtime(settings_for(folder))
    resolved = resolve_program(recipe)
    digests = {str(ref): runtime.catalogue.digest(ref) for visit in resolved.visits for ref in visit.step.model_refs()}
    mill = Mill(folder, resolved, [item], runtime=runtime, model_digests=digests)
    mill.run()
    report = mill.reports()[0]
    assert report.record.finals, report.record.error
    (key,) = report.record.finals.values()
    return Path(mill.store.uri(key))


def mark(step: str, identity: Mapping[str, Any], *inputs: str, version: int = 1, **models: str) -> Provenance:
    """With its true fingerprint. `models`: role -> digest, of the model `starter`."""
    digests = {f"starter/{role}": digest for role, digest in models.items()}
    true = fingerprint(step=step, version=version, identity=identity, model_digests=digests, inputs=inputs)
    return Provenance(step, version, identity, digests, inputs, true)


def marked(path: Path, recipe: ImageRecipe) -> Path:
    """A small PNG that says it was made so."""
    Image.new("RGB", (8, 8)).save(path, pnginfo=png_chunks(recipe))
    return path


def labeled(path: Path, text: str) -> Path:
    """A small PNG with this text where the recipe would be."""
    chunks = PngInfo()
    chunks.add_text("pixelmill", text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=chunks)
    return path
