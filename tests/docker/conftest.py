"""The resolved compose files, with new secrets."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.compose_file import DOCKER, resolve

Resolve = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def env_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What docker/new-env.sh makes."""
    folder = tmp_path_factory.mktemp("docker")
    for name in ("new-env.sh", ".env.example"):
        (folder / name).write_bytes((DOCKER / name).read_bytes())
    subprocess.run(["sh", str(folder / "new-env.sh")], check=True, capture_output=True)
    return folder / ".env"


@pytest.fixture(scope="session")
def resolved(env_file: Path) -> Resolve:
    """Resolves some of the files in docker/; with all profiles unless `profiles` says otherwise."""

    def resolve_files(*names: str, profiles: str = "s3,second-gpu", **environment: str) -> dict[str, Any]:
        given = {"COMPOSE_PROFILES": profiles, **environment}
        return resolve([DOCKER / name for name in names], environment=given, env_file=env_file)

    return resolve_files
