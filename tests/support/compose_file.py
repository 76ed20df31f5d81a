"""docker/compose.yaml as Docker's own Compose understands it: interpolated, merged, extended, with defaults."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support import ROOT

DOCKER = ROOT / "docker"


class ComposeError(Exception):
    """Compose refuses the files; the message is its own."""


@dataclass(frozen=True)
class Mount:
    """A volume (`source` is its name) or a file of the host (`source` is its path) at `target` in the container."""

    source: str
    target: str
    is_volume: bool


@dataclass(frozen=True)
class Service:
    """What one container is: everything that matters to its processes."""

    name: str
    image: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    mounts: tuple[Mount, ...]
    configs: Mapping[str, str]  # path in the container -> content
    tmpfs: tuple[str, ...]
    health: tuple[str, ...]  # a command; empty: none
    restart: str
    needs: Mapping[str, str] = field(default_factory=dict)  # service -> condition; those that are not there left out


def tool(name: str) -> str:
    """A program of the development dependencies."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: `make install`")
    return found


def compose(
    *arguments: str, files: Sequence[Path], environment: Mapping[str, str] | None = None, env_file: Path | None = None
) -> str:
    """What `docker compose` prints. Neither this process's environment nor docker/.env has a part in it.

    Raises ComposeError.
    """
    chosen = [part for file in files for part in ("--file", str(file))]
    command = [tool("docker-compose"), "--project-directory", str(DOCKER), "--env-file", str(env_file or os.devnull)]
    done = subprocess.run(
        [*command, *chosen, *arguments],
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **(environment or {})},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ComposeError(done.stderr.strip())
    return done.stdout


def resolve(
    files: Sequence[Path], *, environment: Mapping[str, str] | None = None, env_file: Path | None = None
) -> dict[str, Any]:
    """The whole resolved file. Raises ComposeError."""
    document: dict[str, Any] = json.loads(
        compose("config", "--format", "json", files=files, environment=environment, env_file=env_file)
    )
    return document


def read_services(document: Mapping[str, Any]) -> dict[str, Service]:
    """The services of a resolved file whose profile is active."""
    services: Mapping[str, Mapping[str, Any]] = document["services"]
    contents = {name: str(entry["content"]) for name, entry in document.get("configs", {}).items()}
    return {name: _service(name, entry, services, contents) for name, entry in services.items()}


def _service(name: str, entry: Mapping[str, Any], services: Mapping[str, Any], contents: Mapping[str, str]) -> Service:
    needs = entry.get("depends_on") or {}
    return Service(
        name=name,
        image=entry["image"],
        command=tuple(entry.get("command") or ()),
        environment={key: str(value) for key, value in (entry.get("environment") or {}).items()},
        mounts=tuple(
            Mount(mount["source"], mount["target"], mount["type"] == "volume") for mount in entry.get("volumes") or ()
        ),
        configs={config["target"]: contents[config["source"]] for config in entry.get("configs") or ()},
        tmpfs=tuple(place.partition(":")[0] for place in entry.get("tmpfs") or ()),
        health=_health(entry.get("healthcheck") or {}),
        restart=entry.get("restart", "no"),
        needs={other: need["condition"] for other, need in needs.items() if other in services},
    )


def _health(entry: Mapping[str, Any]) -> tuple[str, ...]:
    test = list(entry.get("test") or ())
    if not test or test[0] == "NONE":
        return ()
    return ("sh", "-c", test[1]) if test[0] == "CMD-SHELL" else tuple(test[1:])
