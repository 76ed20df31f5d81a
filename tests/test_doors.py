"""Each package exports the few names that matter, and loads them only when they are used."""

import subprocess
import sys
from importlib import import_module

import pytest

PACKAGES = ("configs", "storage", "steps", "gpu_worker", "flows")


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_there(package: str) -> None:
    door = import_module(package)
    for name in door.__all__:
        assert getattr(door, name).__name__ == name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'Nothing'"):
        _ = door.Nothing


@pytest.mark.parts
def test_importing_the_packages_loads_nothing_heavy() -> None:
    heavy = {"pydantic", "sqlalchemy", "prefect", "torch"}
    code = f"import sys, {', '.join(PACKAGES)}; print({heavy} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
