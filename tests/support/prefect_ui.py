"""Prefect's UI as a person uses it: by what is written on its links, buttons and fields."""

import json
from pathlib import Path

from tests.support.browser import Page

_FIND = """
(selector, text, exact) => [...document.querySelectorAll(selector)].filter(
    (node) => exact ? node.textContent.trim() === text : node.textContent.trim().startsWith(text)
).findLast((node) => node.getClientRects().length)
"""


class PrefectUi:
    """One tab of the UI at `address`. With `screenshots` a folder, `snap` keeps what is seen."""

    def __init__(self, page: Page, address: str, screenshots: Path | None = None) -> None:
        self.page, self._address, self._screenshots = page, address, screenshots

    def visit(self, path: str) -> None:
        self.page.visit(f"{self._address}{path}")

    def click(self, text: str, selector: str = "a, button, [role=menuitem], [role=tab]") -> None:
        """Waits for the link or button with just this text, and clicks it."""
        found = f"({_FIND})({json.dumps(selector)}, {json.dumps(text)}, true)"
        self.page.wait(found)
        self.page.ask(f"{found}.click()")

    def fill(self, field: str, text: str) -> None:
        """Types into the field whose label begins so, in place of what it holds."""
        control = self._control(field)
        self.page.wait(control)
        self.page.ask(f"{control}.focus()")
        self.page.ask(f"{control}.select()")
        self.page.type(text)

    def switch(self, field: str) -> None:
        control = self._control(field)
        self.page.wait(control)
        self.page.ask(f"{control}.click()")

    def text(self) -> str:
        return str(self.page.ask("document.body.innerText"))

    def wait_for(self, text: str, seconds: float = 30) -> None:
        self.page.wait(f"document.body.innerText.includes({json.dumps(text)})", seconds)

    def snap(self, name: str, height: int = 1000) -> None:
        if self._screenshots is not None:
            self.page.resize(1300, height)
            self.page.ask("new Promise((done) => setTimeout(done, 1500))")  # animations and the graph of a run
            self.page.screenshot(self._screenshots / f"{name}.png")

    def _control(self, field: str) -> str:
        label = f"({_FIND})('label', {json.dumps(field)}, false)"
        return f"{label}?.closest('.p-label')?.querySelector('textarea, input')"
