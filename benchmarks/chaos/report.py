"""What a person and a program read of a run."""

import json
from collections.abc import Mapping

from benchmarks.chaos.fault import Findings


def table(name: str, findings: Findings) -> str:
    """One line for each count, and one for each thing that is wrong."""
    lines = [f"{name:16} {measure:32} {round(number, 1):>8g}" for measure, number in sorted(findings.counts.items())]
    lines += [f"{name:16} WRONG: {text}" for text in findings.wrong]
    return "\n".join(lines)


def as_json(results: Mapping[str, Findings], *, seed: int, skipped: Mapping[str, str]) -> str:
    """One line: measure -> value, and why a fault was left out."""
    values: dict[str, object] = {"seed": seed}
    for name, findings in results.items():
        for measure, number in {**findings.counts, "wrong": len(findings.wrong)}.items():
            values[f"{name}_{measure}".replace("-", "_")] = round(number, 3)
    values["wrong"] = sum(len(findings.wrong) for findings in results.values())
    values["skipped"] = dict(skipped)
    return json.dumps(values)
