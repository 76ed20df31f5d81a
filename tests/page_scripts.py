"""Linter of the pages' scripts: `python -m tests.page_scripts` assembles them as the pages have them and runs oxlint.

Each page's script is one closure made of several files, so that only the whole shows undefined and unused names.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from flows.pages import gallery, review_page
from flows.pages.page_parts import page_script
from tests.support import ROOT

PAGES = {"gallery": gallery.SCRIPTS, "review": review_page.SCRIPTS}


def main() -> int:
    """Return the exit status of oxlint, whose findings are printed."""
    with tempfile.TemporaryDirectory() as folder:
        for page, names in PAGES.items():
            (Path(folder) / f"{page}.js").write_text(page_script(names), encoding="utf-8")
        oxlint = Path(sys.executable).with_name("oxlint")
        return subprocess.run([oxlint, "--quiet", "--config", ROOT / ".oxlintrc.json", folder], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
