"""All pages: links lead somewhere, code and prose fit the width of a screen, the README stays short."""

import re
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "starter" / "README.md"]
PAGES += sorted((ROOT / "docs").glob("*.md"))
FOLDERS = "configs|storage|steps|gpu_worker|flows|tests|benchmarks|docker|starter|docs|jobs"
WIDTH = 120
MOST_WORDS = 1600  # of the README


# Files that a reader writes or a command makes, and parts of models.
EXAMPLES = {"steps/mirror.py", "tests/steps/test_mirror.py", "steps/grayscale.py", "docker/.env"}
EXAMPLES |= {"starter/diffusion", "starter/cutout", "starter/upscaler"}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def without_code(page: Path) -> list[str]:
    """Return the lines of a page outside of code blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = [line.lstrip("# ").lower() for line in without_code(page) if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", heading).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", "\n".join(without_code(page))):
        if not target.startswith(("http://", "https://")):
            path, _, anchor = target.partition("#")
            found = (page.parent / path).resolve() if path else page
            assert found.exists(), target
            assert not anchor or anchor in anchors(found), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_lines_fit_a_screen(page):
    long = [line for line in without_code(page) if len(line) > WIDTH and not line.startswith(("|", "!["))]
    assert long == []


@pytest.mark.parametrize("page", PAGES[4:], ids=name_of)
def test_the_index_lists_every_page(page):
    assert page.name == "index.md" or f"({page.name})" in (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(PAGES[0].read_text(encoding="utf-8").split()) <= MOST_WORDS


def mentions(page: Path, kind: str) -> set[str]:
    """Return the code spans of a page that are a path or a dotted name in one of the repository's folders."""
    spans = re.findall(r"`([^`\s]+)`", "\n".join(without_code(page)))
    return {span for span in spans if re.fullmatch(rf"(?:{FOLDERS}){kind}", span)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_that_pages_name_exist(page):
    here = page.parent  # starter/README.md names files beside it
    named = mentions(page, r"(?:/[\w.-]+)+/?")
    assert {path for path in named if not (ROOT / path).exists() and not (here / path).exists()} <= EXAMPLES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_modules_that_pages_name_exist(page):
    for name in mentions(page, r"(?:\.[A-Za-z_]\w*)+"):
        if not name.endswith((".md", ".yaml", ".yml")):
            assert is_module(name) or has(name.rpartition(".")[0], name.rpartition(".")[2]), name


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def has(module: str, member: str) -> bool:
    """Return whether a module, or the `__init__` of a package, mentions a name."""
    path = ROOT.joinpath(*module.split("."))
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return source.exists() and re.search(rf"\b{member}\b", source.read_text(encoding="utf-8")) is not None
