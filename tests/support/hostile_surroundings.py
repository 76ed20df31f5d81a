"""Where people start commands: in a folder whose files are called like modules, behind a proxy, with relative paths."""

from pathlib import Path

NOWHERE = "http://127.0.0.1:9"  # nothing listens there
PACKAGES = ("configs", "flows", "gpu_worker", "steps")
MODULES = ("prefect", "starter", "storage", "numpy", "typer")
REFUSES = "raise ImportError('a module of the working folder was imported')\n"


def hostile_surroundings(folder: Path) -> dict[str, str]:
    """Fills the folder with namesakes of modules. Returns variables: paths that start there, and a dead proxy."""
    for package in PACKAGES:
        (folder / package).mkdir()
        (folder / package / "__init__.py").write_text(REFUSES)
    for module in MODULES:
        (folder / f"{module}.py").write_text(REFUSES)
    names = [f"{scheme}_proxy" for scheme in ("http", "https", "all")]
    proxies = dict.fromkeys((*names, *map(str.upper, names)), NOWHERE)
    return {"PIXELMILL_HOME": "its-home", "PIXELMILL_RECIPES_PATH": "./recipes", **proxies}
