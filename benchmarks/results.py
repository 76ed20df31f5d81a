"""Result of a benchmark as a JSON file, with its machine and commit."""

import json
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Result:
    name: str
    title: str
    measures: dict[str, float]
    bars: dict[str, str]  # measure -> what it must be
    missed: list[str]
    skipped: str | None  # why
    scale: float
    seconds: float  # that the benchmark took
    details: dict[str, Any]


def write_result(result: Result, folder: Path) -> Path:
    """Writes `<name>.json`, replacing an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    document = asdict(result) | {"machine": _machine(), "revision": _revision(), "at": datetime.now(UTC).isoformat()}
    path.write_text(json.dumps(document, indent=2) + "\n")
    return path


def _machine() -> dict[str, Any]:
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],  # of the last minute, the benchmark's own included
        "python": platform.python_version(),
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _revision() -> str | None:
    """The commit, with a plus sign if files differ from it; None outside a repository."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    return described.stdout.strip() or None
