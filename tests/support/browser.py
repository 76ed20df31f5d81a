"""A headless Chromium for tests: the system's, driven by Playwright.

Playwright's calls run an asyncio loop in the thread that makes them. While a browser is open, nothing else in that
thread may start a loop; Prefect's client does, except where it is a synchronous one.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WAIT_SECONDS = 60  # for what a page is to come to: an upper bound, generous for a busy machine

_FLAGS = ("--disable-gpu", "--disable-quic")

# Without a GPU, WebGL is computed: the graph on a run's page in Prefect's UI is redrawn all the time, on a whole core.
_NO_WEBGL = "--disable-software-rasterizer"

expect.set_options(timeout=WAIT_SECONDS * 1000)


def find_chromium() -> str | None:
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(chromium: str, *, webgl: bool = False) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        flags = [*_FLAGS, *([] if webgl else [_NO_WEBGL])]
        browser = playwright.chromium.launch(executable_path=chromium, args=flags, timeout=WAIT_SECONDS * 1000)
        try:
            yield browser
        finally:
            browser.close()


def wait_for_script(page: Page, condition: str) -> None:
    """Return once a JavaScript condition holds. Unlike Playwright's `wait_for_function` it needs no eval in the page,
    which the security policy of our pages refuses.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not page.evaluate(f"Boolean({condition})"):
        assert time.monotonic() < deadline, f"the page never came to: {condition}"
        page.wait_for_timeout(50)


@contextmanager
def open_page(browser: Browser, errors: list[str]) -> Iterator[Page]:
    """Open a tab without history. `errors` collects uncaught exceptions, refused and missing files."""

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(f"{message.text} {message.location.get('url', '')}")

    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    context.set_default_timeout(WAIT_SECONDS * 1000)
    page = context.new_page()
    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
    finally:
        context.close()


def open_file(page: Page, path: Path, fragment: str = "") -> None:
    """Load a page of a folder; also where only the fragment differs from what is shown."""
    page.goto("about:blank")
    page.goto(path.as_uri() + fragment)
