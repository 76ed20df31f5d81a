"""Texts of strangers in an artifact, as Prefect's own pages show it in a browser."""

from pathlib import Path

import pytest
from playwright.sync_api import expect
from prefect.artifacts import create_markdown_artifact
from prefect.settings import PREFECT_API_URL, temporary_settings

from configs.settings.settings import Settings
from flows.prefect_api.server import local_server
from flows.report.render import markdown_table
from tests.support.browser import find_chromium, open_browser, open_page
from tests.support.hostile_texts import HOSTILE, shown
from tests.support.prefect_ui import PrefectUi
from tests.support.servers.prefect_database import give_prefect_database

CHROMIUM = find_chromium()
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

ADDRESSES = ("https://evil.example/a", "www.evil.example", "me@evil.example", "ftp://evil.example")


@pytest.mark.usefixtures("without_api")
def test_a_table_of_hostile_texts_is_a_table_of_texts(tmp_path: Path) -> None:
    texts = (*HOSTILE, *ADDRESSES)
    assert CHROMIUM is not None
    give_prefect_database(tmp_path)
    with local_server(Settings(home=tmp_path), ui=True) as api, temporary_settings({PREFECT_API_URL: api}):
        # Before there is a browser: this call starts a loop.
        identifier = create_markdown_artifact(
            markdown_table(("text", "end"), [(text, "end") for text in texts]), key="hostile"
        )
        with open_browser(CHROMIUM) as browser, open_page(browser, []) as page:
            PrefectUi(page, api.removesuffix("/api")).visit(f"/artifacts/artifact/{identifier}")
            expect(page.locator("table tbody tr")).to_have_count(len(texts))
            cells = [text.strip() for text in page.locator("table tbody td").all_text_contents()]
            markup = page.locator("table a, table img, table script, table code, table b").count()
    assert [cell.replace("\u2060", "") for cell in cells[::2]] == [shown(text) for text in texts]
    assert set(cells[1::2]) == {"end"}
    assert markup == 0
