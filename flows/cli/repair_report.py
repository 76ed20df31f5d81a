"""What `pixelmill verify --repair` prints: for programs and for people."""

from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from flows.cli.verify_report import describe_verification, verification_document
from flows.verify.repair import Mended, Repair

_WORDS = {
    "adopted": "artefacts taken into the ledger",
    "restored": "artefacts restored from their finals",
    "forgotten": "lost artefacts forgotten",
    "published": "finals published again",
    "removed": "finals of no item removed",
    "reopened": "items made pending",
}


def repair_document(repair: Repair) -> dict[str, Any]:
    """The state after the repair, what had been found before (`found`), and what was done (`repair`)."""
    found = verification_document(repair.found)
    return {
        **verification_document(repair.left),
        "found": {"sound": found["sound"], "problems": found["problems"], "findings": found["findings"]},
        "repair": asdict(repair.mended),
    }


def describe_repair(repair: Repair) -> RenderableType:
    """What was done and how the job stands now."""
    lines: list[RenderableType] = []
    if not repair.found.sound:
        lines += [Text("Before the repair", "bold"), describe_verification(repair.found), ""]
    lines += [*describe_mended(repair.mended), Text("Now", "bold"), describe_verification(repair.left)]
    return Group(*lines)


def describe_mended(mended: Mended) -> list[RenderableType]:
    """A line for each thing that was done."""
    lines: list[RenderableType] = [Text("Repaired", "bold")]
    lines += [Text(f"  {words}: {getattr(mended, name):,}") for name, words in _WORDS.items() if getattr(mended, name)]
    if mended.rewritten:
        lines.append(Text("  manifest, report and gallery written anew"))
    if len(lines) == 1:
        lines.append(Text("  nothing had to be done"))
    for reason, count in mended.not_adopted.most_common():
        lines.append(Text(f"  artefacts that the ledger still does not know: {count:,} ({reason})", "dim"))
    return lines
