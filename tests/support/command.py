"""Runs the `pixelmill` command as a user does, with a home of its own: in a process, or for less in the tests' own."""

import json
import logging
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from configs.settings.environment import module_command, settle_environment
from tests.support.servers.prefect_database import give_prefect_database
from tests.support.waiting import PATIENCE, wait_until

STARTS_SERVER = ("run", "resume", "up")


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as one JSON object; nothing else may be on it."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Pixelmill:
    """A user's shell: a working folder, a home for state, and environment variables."""

    folder: Path
    env: Mapping[str, str] = field(default_factory=dict)
    makes_database: bool = False  # whether a server of its own begins as with a new user, without a database

    @property
    def home(self) -> Path:
        return self.folder / self.env.get("PIXELMILL_HOME", "home")

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PREFECT_", "PIXELMILL_"))}
        return kept | {"PIXELMILL_HOME": str(self.home), "PIXELMILL_DEVICE": "cpu", **self.env}

    def start(self, *args: str) -> "subprocess.Popen[str]":
        environment = self.environment()
        if args[0] in STARTS_SERVER and not self.makes_database and "PREFECT_API_URL" not in environment:
            give_prefect_database(self.home)
        return subprocess.Popen(
            module_command("flows.cli.main", *args),
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *args: str, timeout: float = 2 * PATIENCE) -> Result:
        process = self.start(*args)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Result(process.returncode, out, err)

    @property
    def here(self) -> "PixelmillHere":
        """The same shell for commands that need no process of their own."""
        return PixelmillHere(self.folder, self.env)

    @contextmanager
    def with_worker(self) -> "Iterator[Pixelmill]":
        """A worker that is there before a command, and keeps its models from one to the next: no command starts one."""
        with (self.folder / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                module_command("flows.cli.main", "worker", "start"),
                cwd=self.folder, env=self.environment(), stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            wait_until(lambda: worker.poll() is not None or self._has_worker())
            assert worker.poll() is None, (self.folder / "worker.log").read_text()
            yield self
        finally:
            worker.terminate()
            worker.wait(PATIENCE)

    def _has_worker(self) -> bool:
        pool = self.env.get("PIXELMILL_WORK_POOL", "gpu")
        answer = httpx.post(f"{self.env['PREFECT_API_URL']}/work_pools/{pool}/workers/filter", json={})
        return answer.is_success and bool(answer.json())  # until the worker makes the pool there is none

    def write(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class PixelmillHere(Pixelmill):
    """Runs the command in the tests' own process, a second cheaper: what it says, writes and answers is the same."""

    def __call__(self, *args: str, timeout: float = 2 * PATIENCE) -> Result:
        from typer.testing import CliRunner

        from flows.cli.main import app

        with chdir(self.folder), _process_as_it_was(self.environment()), _api_known(self.env.get("PREFECT_API_URL")):
            settle_environment()  # as the command does first
            result = CliRunner().invoke(app, args, prog_name="pixelmill")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Result(result.exit_code, result.stdout, result.stderr)


@contextmanager
def _api_known(url: str | None) -> Iterator[None]:
    """Names the API to Prefect, which reads the environment only once in a process; also to new threads."""
    if url is None:
        yield
        return
    from prefect import context
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: url}):
        settings = context.SettingsContext.get()
        with patch.object(context, "GLOBAL_SETTINGS_CONTEXT", settings):
            yield


@contextmanager
def _process_as_it_was(environment: Mapping[str, str]) -> Iterator[None]:
    """Sets the environment, and afterwards undoes what a command does to its process: it has one to itself."""
    from configs.catalogues import catalogue
    from gpu_worker.monitor import logs

    has_catalogue = "PIXELMILL_CATALOGUE_PATH" in environment
    root, last = logging.getLogger(), logging.lastResort
    packages = [logging.getLogger(name) for name in logs.PACKAGES]
    variables, quiet, handlers = dict(os.environ), logs._quiet, list(root.handlers)
    levels, hooks = [package.level for package in packages], (sys.excepthook, threading.excepthook)
    formatter = last.formatter if last is not None else None
    os.environ.clear()
    os.environ.update(environment)
    if has_catalogue:
        catalogue.current.cache_clear()
    urllib.request.install_opener(None)  # type: ignore[arg-type]  # made again with the proxies of the environment
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(variables)
        if has_catalogue:
            catalogue.current.cache_clear()
        urllib.request.install_opener(None)  # type: ignore[arg-type]
        logs._quiet, root.handlers = quiet, handlers
        for package, level in zip(packages, levels, strict=True):
            package.setLevel(level)
        sys.excepthook, threading.excepthook = hooks
        if last is not None:
            last.setFormatter(formatter)
