"""Finds recipes: by name in the folders of `recipes_path` and in `configs/data/recipes/`, or by path."""

from pathlib import Path

from configs.settings.settings import Settings

BUILT_IN = Path(__file__).parents[1] / "data" / "recipes"
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
    """Whether a job's `recipe` is a path or a URI rather than a name."""
    return "/" in text or "\\" in text or text.endswith(_SUFFIXES)


def misnamed(path: str) -> str | None:
    """Why the file of this name is not read as a recipe; None if it is.

    What is said about a file that holds something else may repeat parts of it: only what calls itself YAML is opened.
    """
    return None if path.endswith(_SUFFIXES) else f"the name of a recipe's file must end in {' or '.join(_SUFFIXES)}"
