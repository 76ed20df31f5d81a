"""The Dockerfiles and the locks that they install."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.support.compose_file import DOCKER, ROOT, tool

HEAVY = ("torch", "torchvision", "diffusers", "transformers", "rembg", "onnxruntime", "realesrgan", "safetensors")
LOCKS = ("requirements-flows.lock", "requirements-worker.lock")
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))


def pins(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", lock.read_text(), re.MULTILINE))


@pytest.mark.parts
@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = subprocess.run([tool("hadolint"), str(dockerfile)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_an_image_is_built_in_stages_from_its_lock_and_runs_as_nobody(dockerfile: Path) -> None:
    text = dockerfile.read_text()
    last = text.rpartition("\nFROM ")[2]
    assert text.count("\nFROM ") == 2
    assert "--require-hashes" in text
    assert re.search(r"^USER 10001:10001$", last, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK ", last, re.MULTILINE)
    assert "pip" not in last


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_a_part_of_the_one_that_is_tested(name: str) -> None:
    tested, shipped = pins(ROOT / "requirements.lock"), pins(DOCKER / name)
    strangers = [package for package in shipped if package not in tested and not _is_never(DOCKER / name, package)]
    others = [package for package in shipped if package in tested and shipped[package] != tested[package]]
    assert (strangers, others) == ([], [])


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_hashes_and_no_address(name: str) -> None:
    text = (DOCKER / name).read_text()
    assert text.count("--hash=sha256:") > len(pins(DOCKER / name))
    assert "://" not in text


def test_what_computes_images_is_in_the_workers_lock_alone() -> None:
    flows, worker = (pins(DOCKER / name) for name in LOCKS)
    assert not set(HEAVY) & set(flows)
    assert set(HEAVY) <= set(worker)
    assert {"prefect-redis", "psycopg"} <= set(flows)
    assert "psycopg" in worker


def test_the_makefile_and_the_images_take_the_same_uv() -> None:
    (wanted,) = re.findall(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for dockerfile in DOCKERFILES:
        assert f"ARG UV_VERSION={wanted}\n" in dockerfile.read_text()


def test_what_the_images_copy_is_not_ignored() -> None:
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert all(list(ROOT.glob(pattern)) for pattern in kept)
    packages = re.findall(r'^packages = \["flows".*\]$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(re.findall(r'"(\w+)"', packages[0])) <= set(kept)


def _is_never(lock: Path, package: str) -> bool:
    """Whether its marker is true nowhere: what it would bring is replaced, see tool.uv.override-dependencies."""
    return bool(re.search(rf"^{package}==\S+ ; sys_platform == 'never'", lock.read_text(), re.MULTILINE))
