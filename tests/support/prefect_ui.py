"""Prefect's UI as a person uses it: by what is written on its links, buttons and fields."""

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

PRESSES = 6


class PrefectUi:
    """One tab of the UI at `address`. `snap` keeps what is shown if `screenshots` is a folder."""

    def __init__(self, page: Page, address: str, screenshots: Path | None = None) -> None:
        self.page, self._address, self._screenshots = page, address, screenshots

    def visit(self, path: str) -> None:
        self.page.goto(f"{self._address}{path}")

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True).locator("visible=true").last

    def click(self, text: str) -> None:
        """Click the last visible element with exactly this text."""
        self.page.get_by_text(text, exact=True).locator("visible=true").last.click()

    def follow(self, text: str, address: str) -> None:
        """Click the link with exactly this text to an address that contains `address`."""
        links = self.page.locator(f"a[href*='{address}']").filter(has_text=re.compile(rf"^\s*{re.escape(text)}\s*$"))
        links.locator("visible=true").last.click()

    def press(self, name: str, *, opens: Locator) -> None:
        """Press a button until `opens` is shown: a page that redraws itself may lose a click."""
        for _ in range(PRESSES):
            self.button(name).click()
            try:
                return expect(opens).to_be_visible(timeout=10_000)
            except AssertionError:
                continue
        raise AssertionError(f"{name!r} was pressed {PRESSES} times in vain")

    def fill(self, field: str, text: str) -> None:
        """Replace what the field holds whose label begins with `field`."""
        self._labelled(field).locator("textarea, input").last.fill(text)

    def switch(self, field: str) -> None:
        self._labelled(field).get_by_role("switch").click()

    def text(self) -> str:
        return self.page.locator("body").inner_text()

    def wait_for(self, text: str, seconds: float = 60) -> None:
        expect(self.page.locator("body")).to_contain_text(text, use_inner_text=True, timeout=seconds * 1000)

    def snap(self, name: str, height: int = 1000) -> None:
        if self._screenshots is not None:
            self.page.set_viewport_size({"width": 1300, "height": height})
            self.page.wait_for_timeout(1500)  # for animations and the graph of a run
            self.page.screenshot(path=self._screenshots / f"{name}.png")

    def _labelled(self, field: str) -> Locator:
        label = self.page.locator("label").filter(has_text=re.compile(rf"^\s*{re.escape(field)}"))
        return self.page.locator(".p-label").filter(has=label).last
