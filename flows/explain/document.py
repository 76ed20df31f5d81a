"""An explanation as JSON. docs/explain.md describes it; a test compares the two."""

from collections.abc import Mapping, Sequence
from typing import Any

from configs.documents.uris import shown
from flows.explain.explain import Explanation
from gpu_worker.walk.trace import (
    Branched,
    Chosen,
    Gated,
    Looped,
    RequirementResult,
    Switched,
    TraceNode,
    Visited,
)
from storage.ledger.records import ArtefactRecord, Review, StepOutcome


def explanation_document(explanation: Explanation) -> dict[str, Any]:
    """Return an explanation as JSON values, a stable interface: fields may be added, none is removed or renamed."""
    job, record = explanation.job, explanation.report.record
    item, entries = record.item, explanation.report.steps.values()
    return {
        "job": job.id,
        "run": job.run,
        "recipe": job.recipe.name,
        "item": {
            "index": item.index,
            "name": item.name,
            "prompt": item.prompt,
            "seed": item.seed,
            "vars": item.vars,
            "image": item.image and shown(item.image),  # without the signature of an address
            "mask": item.mask and shown(item.mask),
        },
        "state": record.state.value,
        "error": record.error,
        "error_step": record.error_step,
        "warnings": list(record.warnings),
        "reviews": [_review(review) for review in explanation.reviews],
        "finals": [{"visit": visit, "key": key} for visit, key in record.finals.items()],
        "seconds": sum(entry.seconds for entry in entries),
        "cost": sum(entry.cost for entry in entries),
        "problems": list(explanation.problems),
        "way": _way(explanation.way),
        "unplaced": [_recorded(visit, entry) for visit, entry in explanation.unplaced.items()],
    }


def _review(review: Review) -> dict[str, Any]:
    return {
        "fingerprint": review.fingerprint,
        "accepted": review.accepted,
        "reason": review.reason,
        "reviewer": review.reviewer,
        "reviewed_at": review.reviewed_at.isoformat(),
    }


def _way(way: Sequence[TraceNode]) -> list[dict[str, Any]]:
    return [_node(node) for node in way]


def _node(node: TraceNode) -> dict[str, Any]:
    match node:
        case Visited():
            return _visited(node)
        case Branched():
            return {
                "kind": "branch",
                "place": node.path,
                "step": node.of,
                "condition": node.text,
                "seen": dict(node.seen),
                "met": node.met,
                "way": _way(node.way),
            }
        case Switched():
            return {
                "kind": "switch",
                "place": node.path,
                "value": node.text,
                "seen": dict(node.seen),
                "case": node.case,
                "way": _way(node.way),
            }
        case Gated():
            return _gated(node)
        case Looped():
            turns = [
                {"number": turn.number, "way": _way(turn.way), "seen": dict(turn.seen), "met": turn.met}
                for turn in node.turns
            ]
            return {"kind": "repeat", "place": node.path, "until": node.text, "most": node.most, "turns": turns}
        case Chosen():
            return _chosen(node)


def _visited(node: Visited) -> dict[str, Any]:
    entry = node.entry
    return {
        "kind": "step",
        "place": node.by.path,
        "visit": node.visit,
        "step": node.step,
        "attempt": node.attempt,
        "name": node.by.name,
        "standing": node.state,
        "counts": node.counts,
        "source": node.source,
        "seed": node.seed,
        "changed": dict(node.changed),
        "seconds": entry.seconds if entry else 0.0,
        "cost": entry.cost if entry else 0.0,
        "error": entry.error if entry else None,
        "image": _image(entry.artefact if entry else None),
    }


def _image(artefact: ArtefactRecord | None) -> dict[str, Any] | None:
    if artefact is None:
        return None
    return {
        "fingerprint": artefact.fingerprint,
        "key": artefact.key,
        "width": artefact.width,
        "height": artefact.height,
        "facts": dict(artefact.facts),
    }


def _gated(node: Gated) -> dict[str, Any]:
    attempts = [
        {
            "number": attempt.number,
            "from": attempt.start,
            "way": _way(attempt.way),
            "requirements": _checks(attempt.checks),
            "met": attempt.met,
        }
        for attempt in node.attempts
    ]
    repair = node.repair and {
        "way": _way(node.repair.way),
        "requirements": _checks(node.repair.checks),
        "met": node.repair.met,
    }
    return {
        "kind": "gate",
        "place": node.path,
        "name": node.name,
        "step": node.of,
        "requirements": _checks(node.checks),
        "met": node.met,
        "tries": node.tries,
        "attempts": attempts,
        "repair": repair,
        "verdict": node.verdict,
    }


def _checks(checks: Sequence[RequirementResult]) -> list[dict[str, Any]]:
    return [
        {"condition": one.text, "gate": one.gate, "because": one.because, "met": one.met, "seen": dict(one.seen)}
        for one in checks
    ]


def _chosen(node: Chosen) -> dict[str, Any]:
    candidates = [
        {
            "number": candidate.number,
            "way": _way(candidate.way),
            "value": candidate.value,
            "seen": dict(candidate.seen),
            "dropped": candidate.dropped,
        }
        for candidate in node.candidates
    ]
    return {
        "kind": "best_of",
        "place": node.path,
        "by": node.text,
        "most": node.most,
        "candidates": candidates,
        "picked": node.picked,
    }


def _recorded(visit: str, entry: StepOutcome) -> Mapping[str, Any]:
    return {
        "visit": visit,
        "outcome": entry.outcome.value,
        "seconds": entry.seconds,
        "error": entry.error,
        "image": _image(entry.artefact),
    }
