"""What a person and a program read of a trial."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.gates.defects import DEFECTS
from benchmarks.gates.trial import Trial

LEAST_RECALL, MOST_FALSE_ALARMS = 0.95, 0.01


def results(trial: Trial) -> dict[str, Any]:
    """Recall and the gates that fired, by kind and by where the pictures come from; false alarms; what was missed."""
    sound = [case for case in trial.cases if case.defect is None]
    kinds = {kind: [case for case in trial.cases if case.defect == kind] for kind in DEFECTS}
    recall = {kind: sum(bool(case.fired) for case in cases) / max(1, len(cases)) for kind, cases in kinds.items()}
    alarms = sum(bool(case.fired) for case in sound) / max(1, len(sound))
    return {
        "seed": trial.seed,
        "sound": len(sound),
        "of_each": {kind: len(cases) for kind, cases in kinds.items()},
        "recall": {kind: round(share, 4) for kind, share in recall.items()},
        "fired": {kind: _shares(case.fired for case in cases) for kind, cases in kinds.items()},
        "recall_by_origin": {
            f"{origin} {side}": {
                kind: _found([case.fired for case in cases if _group(case) == (origin, side)])
                for kind, cases in kinds.items()
            }
            for origin in ("drawn", "generated")
            for side in (64, 256)
        },
        "recall_of_generated": {
            kind: _found([case.fired for case in cases if case.picture.origin == "generated"])
            for kind, cases in kinds.items()
        },
        "false_alarms": round(alarms, 4),
        "false_alarms_by_gate": _shares(case.fired for case in sound),
        "false_alarms_by_origin": {
            f"{origin} {side}": _found([case.fired for case in sound if _group(case) == (origin, side)])
            for origin in ("drawn", "generated")
            for side in (64, 256)
        },
        "false_alarms_of_generated": _found([case.fired for case in sound if case.picture.origin == "generated"]),
        "generated": trial.generated,
        "unsound": trial.unsound,
        "missed": [
            *(f"recall of {kind}" for kind, share in recall.items() if share < LEAST_RECALL),
            *(["false alarms"] if alarms > MOST_FALSE_ALARMS or not sound else []),
        ],
    }


def table(found: Mapping[str, Any]) -> Iterator[str]:
    """Lines for people."""
    yield f"{'defect':16} {'recall':>8} {'generated':>10}  {'':6}  gates that fired"
    for kind, recall in found["recall"].items():
        verdict = "ok" if recall >= LEAST_RECALL else "MISSED"
        alone = _share(found["recall_of_generated"][kind])
        yield f"{kind:16} {recall:8.1%} {alone:>10}  {verdict:6}  {_listed(found['fired'][kind])}"
    alarms = found["false_alarms"]
    verdict = "ok" if alarms <= MOST_FALSE_ALARMS else "MISSED"
    alone = _share(found["false_alarms_of_generated"])
    yield f"{'sound, flagged':16} {alarms:8.2%} {alone:>10}  {verdict:6}  {_listed(found['false_alarms_by_gate'], 2)}"
    yield f"{found['sound']:,} sound pictures; of {found['generated']} generated ones {found['unsound']} were not sound"


def write(found: Mapping[str, Any], file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _shares(fired: Any) -> dict[str, float]:
    """Gate -> share of the cases in which it fired, the most frequent first."""
    every = list(fired)
    counts = Counter(gate for gates in every for gate in gates)
    return {gate: round(count / len(every), 4) for gate, count in sorted(counts.items(), key=lambda pair: -pair[1])}


def _found(fired: list[frozenset[str]]) -> float | None:
    return round(sum(map(bool, fired)) / len(fired), 4) if fired else None


def _share(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _group(case: Any) -> tuple[str, int]:
    return case.picture.origin, case.picture.final.width


def _listed(shares: Mapping[str, float], digits: int = 0) -> str:
    return ", ".join(f"{gate} {share:.{digits}%}" for gate, share in shares.items()) or "none"
