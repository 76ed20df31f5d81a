"""Finds recipes: by name in the folders of `recipes_path` and in `configs/recipes/`, or by path."""

from pathlib import Path

from configs.settings import Settings

BUILT_IN = Path(__file__).parent / "recipes"
_SUFFIXES = (".yaml", ".yml")


def recipe_folders(settings: Settings) -> tuple[Path, ...]:
    """In the order they are searched."""
    return (*(path.expanduser() for path in settings.recipes_path), BUILT_IN)


def recipe_names(settings: Settings) -> tuple[str, ...]:
    """Sorted names of the recipes that a job can use without a path."""
    return tuple(sorted({path.stem for folder in recipe_folders(settings) for path in folder.glob("*.yaml")}))


def find_recipe(name: str, settings: Settings) -> Path | None:
    """The file of a recipe's name; None if there is none."""
    paths = (folder / f"{name}.yaml" for folder in recipe_folders(settings))
    return next((path for path in paths if path.is_file()), None)


def is_recipe_path(text: str) -> bool:
    """Whether a job's `recipe` is a path or an s3:// URI rather than a name."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)
