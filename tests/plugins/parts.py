"""Which part each test belongs to, and what a unit test may not do.

A unit test starts no process, loads no library that computes models, runs no whole job of more than a few items, and
does not read all of the source.
What does is one of the `parts`, or with servers an end-to-end test.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SERVERS = {"rclone", "moto", "postgres"}
OTHER_THAN_UNIT = ("e2e", "parts", "slow")
STARTS = {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.system", "pty.spawn"}  # events of sys.addaudithook
MODELS = {"torch", "onnxruntime"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Of a file without any test of the wanted part nothing is imported: imports are most of what collecting costs."""
    if not (collection_path.name.startswith("test_") and collection_path.suffix == ".py"):
        return None
    wanted: str = config.option.markexpr
    text = collection_path.read_text(encoding="utf-8")
    marked = re.search(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", text, re.MULTILINE)
    if wanted.startswith("parts") and "pytest.mark.parts" not in text:
        return True
    return True if marked is not None and f"not {marked[1]}" in wanted else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Orders the files, and marks tests.

    A test that needs a server process is an end-to-end test, also where only some of its parameters need one.
    """
    items.sort(key=lambda item: item.get_closest_marker("long") is None)
    for item in items:
        chosen = getattr(item, "callspec", None)
        parameters = {value for value in chosen.params.values() if isinstance(value, str)} if chosen else set()
        fixtures = {
            name.partition("_")[0] for name in getattr(item, "fixturenames", ()) if name.endswith(("_server", "_url"))
        }
        if SERVERS & (parameters | fixtures):
            item.add_marker(pytest.mark.e2e)


class Watch:
    """Refuses to a unit test what makes it none."""

    def __init__(self) -> None:
        self.unit = False
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.unit:
            return
        if event in STARTS:
            self._refuse(f"starts a process ({event} {arguments[0]!s})")
        if event == "import" and arguments[0] in MODELS:
            self._refuse(f"loads {arguments[0]}")

    def _refuse(self, what: str) -> None:
        pytest.fail(f"a unit test {what}: mark it with pytest.mark.parts")


_watch = Watch()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """`make test` would not miss a unit test that costs too much: it would only become slower, test by test."""
    _watch.unit = not any(item.get_closest_marker(name) for name in OTHER_THAN_UNIT)
    try:
        return (yield)
    finally:
        _watch.unit = False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """What ends here may be a server that earlier tests have started: its end is not the unit test's."""
    _watch.unit = False
