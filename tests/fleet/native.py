"""The services of a compose file as native processes: the same commands, variables, health checks and dependencies.

Each service has an address of its own in the loopback network, so that all keep the ports of the compose file. Names of
services become these addresses, and volumes become folders.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.fleet.container import Container, Launch
from tests.fleet.images import (
    FLOWS,
    POSTGRES,
    REDIS,
    S3,
    WORKER,
    image_environment,
    kind_of,
    postgres_command,
    prepare_postgres,
    s3_command,
    worker_environment,
)
from tests.fleet.sandbox import USER, Confinement, confined, may_run, obstacle
from tests.support.compose_file import DOCKER, Mount, Service

LOOK_SECONDS = 0.25
HEALTH_EVERY_SECONDS = 1.0
MOST_STARTS = 4  # of a service that does not stay up
ANY_ADDRESS = ("0.0.0.0", "127.0.0.1", "* -::*")  # of the container itself, in commands and settings


class StartError(Exception):
    """The fleet did not come up; the message says which service, and the end of its log."""


class NativeFleet:
    """Use as a context manager: at its end all that was started is gone."""

    def __init__(self, services: Mapping[str, Service], folder: Path, flows: Path, log: Callable[[str], None]) -> None:
        """`flows`: the virtual environment of what runs in the flows image."""
        self._services, self._folder, self._flows, self._say = services, folder, flows, log
        subnet = f"127.{secrets.randbelow(250) + 2}.{secrets.randbelow(250) + 2}"
        self.addresses = {name: f"{subnet}.{number}" for number, name in enumerate(sorted(services), start=2)}
        self.containers: dict[str, Container] = {}

    def start(self, seconds: float) -> None:
        """Starts every service as soon as what it needs is there, and waits until all are healthy or have ended well.

        Raises StartError.
        """
        deadline = time.monotonic() + seconds
        well: set[str] = set()
        looked: dict[str, float] = {}
        while well != set(self._services):
            for name, service in self._services.items():
                if name not in self.containers and self._has_what_it_needs(service, well):
                    self._say(f"starting {name}")
                    self.containers[name] = self._container(service)
                    self.containers[name].start()
            for name in set(self.containers) - well:
                container = self.containers[name]
                if container.has_failed or container.starts > MOST_STARTS:
                    raise StartError(f"{name} ended with status {container.exit_status}:\n{_tail(container.log)}")
                if self._services[name].restart == "no":
                    if container.has_succeeded:
                        well.add(name)
                elif time.monotonic() - looked.get(name, 0.0) > HEALTH_EVERY_SECONDS:
                    looked[name] = time.monotonic()
                    if container.is_healthy():
                        well.add(name)
            if time.monotonic() > deadline:
                waiting = sorted(set(self._services) - well)
                tails = "\n".join(f"{name}:\n{_tail(self._log(name))}" for name in waiting if self._log(name).exists())
                raise StartError(f"not up after {seconds:.0f} s: {', '.join(waiting)}\n{tails}")
            time.sleep(LOOK_SECONDS)

    def text(self, text: str, service: str | None = None) -> str:
        """A text of the compose file with native addresses and folders, as `service` or somebody outside sees it."""
        for name, address in self.addresses.items():
            text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?=:\d)", address, text)
        if service is None:
            return text
        for any_address in ANY_ADDRESS:
            text = text.replace(any_address, self.addresses[service])
        places = self._places(self._services[service])
        if not places:
            return text
        targets = "|".join(re.escape(target) for target in sorted(places, key=len, reverse=True))
        return re.sub(rf"(?<![\w./-])({targets})(?![\w.-])", lambda found: str(places[found[1]]), text)

    def environment(self, service: str) -> dict[str, str]:
        """Of the service's processes: that of its image, then that of the compose file."""
        chosen = self._services[service]
        inherited = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self._own(service) / "tmp")}
        inherited["TMPDIR"] = str(self._own(service) / "tmp")
        kind = kind_of(chosen.image)
        own = {**(image_environment(DOCKER / _DOCKERFILES[kind]) if kind in _DOCKERFILES else {}), **chosen.environment}
        environment = inherited | {name: self.text(value, service) for name, value in own.items()}
        # Containers may all listen on one port of all addresses; processes of one machine may not.
        environment["PREFECT_WORKER_WEBSERVER_HOST"] = self.addresses[service]
        if kind in _DOCKERFILES:
            environment["PATH"] = f"{self._virtual(kind) / 'bin'}:{environment['PATH']}"
        return environment

    def run(self, service: str, *command: str, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        """What `docker compose run SERVICE COMMAND` is: one more container of the service, for one command."""
        return subprocess.run(
            self._confined(self._services[service], list(command)),
            env=self.environment(service),
            cwd=self._own(service),
            check=False,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def volume(self, name: str) -> Path:
        return self._folder / "volumes" / name

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for container in reversed(self.containers.values()):
            container.end()

    # -- one service ---------------------------------------------------------------------------------------------------
    def _has_what_it_needs(self, service: Service, well: set[str]) -> bool:
        return all(other in well for other in service.needs)

    def _container(self, service: Service) -> Container:
        places = self._places(service)
        for target, content in service.configs.items():
            places[target].write_text(self.text(content, service.name))
        command, before = self._command(service)
        launch = Launch(
            command=command,
            environment=self.environment(service.name),
            folder=self._own(service.name),
            health=self._health(service),
            restart=service.restart,
            log=self._log(service.name),
            before=before,
        )
        return Container(service.name, launch)

    def _command(self, service: Service) -> tuple[list[str], Callable[[], None]]:
        """What the container runs, and what its image does before."""
        kind = kind_of(service.image)
        if kind != POSTGRES:
            return self._confined(service, s3_command(service) if kind == S3 else list(service.command)), lambda: None
        data, script = self.volume("postgres"), DOCKER / "postgres" / "10-databases.sh"
        environment = self.environment(service.name)

        def before() -> None:
            if not (data / "PG_VERSION").exists():
                prepare_postgres(data, script, environment)

        return self._confined(service, postgres_command(service.command, data)), before

    def _confined(self, service: Service, command: list[str]) -> list[str]:
        """A command of the compose file, as far as possible in what the container would be."""
        kind = kind_of(service.image)
        command = [self.text(word, service.name) for word in command]
        if kind in _DOCKERFILES:
            command[0] = str(self._virtual(kind) / "bin" / command[0])
        user = POSTGRES if kind == POSTGRES else str(self._user(kind))
        places = {*self._places(service).values(), self._own(service.name)}
        writable = tuple(place for place in places if place.is_relative_to(self._folder))
        if os.geteuid() == 0:
            for place in writable:
                shutil.chown(place, *([user] if user == POSTGRES else [int(user), int(user)]))
        return confined(command, service.name, Confinement(user, writable)) if obstacle() is None else command

    def _health(self, service: Service) -> list[str]:
        if kind_of(service.image) == S3:  # the gateway's own path: whether it answers at all must do
            return [sys.executable, "-c", f"import socket; socket.create_connection(({self.addresses['s3']!r}, 7070))"]
        command = [self.text(word, service.name) for word in service.health]
        if command and command[0] == "health":
            python = self._virtual(kind_of(service.image)) / "bin" / "python"
            command[:1] = [str(python), str(DOCKER / "health.py")]
        return command

    def _places(self, service: Service) -> dict[str, Path]:
        """Paths in the container -> on this machine. Made if they are not there."""
        places = {mount.target: self._source(mount) for mount in service.mounts}
        places |= {target: self._own(service.name) / Path(target).name for target in service.configs}
        for target in service.tmpfs:
            places[target] = self._own(service.name) / Path(target).name
            places[target].mkdir(exist_ok=True)
        return places

    def _source(self, mount: Mount) -> Path:
        if not mount.is_volume:
            return Path(mount.source)
        place = self.volume(mount.source)
        place.mkdir(parents=True, exist_ok=True)
        return place

    def _own(self, service: str) -> Path:
        place = self._folder / "containers" / service
        (place / "tmp").mkdir(parents=True, exist_ok=True)
        return place

    def _log(self, service: str) -> Path:
        logs = self._folder / "logs"
        logs.mkdir(exist_ok=True)
        return logs / f"{service}.log"

    def _virtual(self, kind: str) -> Path:
        return self._flows if kind == FLOWS else worker_environment()

    def _user(self, kind: str) -> int:
        """That of the image; root, who then has no capabilities, where only root can start the interpreter."""
        if kind in _DOCKERFILES and may_run(self._virtual(kind) / "bin" / "python", USER):
            return USER
        return 0


_DOCKERFILES = {FLOWS: "flows.Dockerfile", WORKER: "worker.Dockerfile"}
KNOWN = {POSTGRES, REDIS, S3, FLOWS, WORKER}


def strangers(services: Sequence[Service]) -> list[str]:
    """Images that nobody knows a native form of."""
    return sorted({service.image for service in services if kind_of(service.image) not in KNOWN})


def _tail(log: Path, lines: int = 25) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
