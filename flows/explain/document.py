"""An explanation as JSON. docs/explain.md describes it; a test compares the two."""

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from configs.documents.uris import shown
from flows.explain.explain import Explanation
from gpu_worker.walk import trace
from storage.ledger.records import ArtefactRecord, Review, StepOutcome

# Kind and fields of each object, in order; `place=path`: the field `place` has the value of the attribute `path`.
_OBJECTS: Mapping[type, tuple[str | None, str]] = {
    trace.Visited: ("step", "place=by.path visit step attempt name=by.name standing=state counts source seed changed"),
    trace.Branched: ("branch", "place=path step=of condition=text seen met way"),
    trace.Switched: ("switch", "place=path value=text seen case way"),
    trace.Gated: ("gate", "place=path name step=of requirements=checks met tries attempts repair verdict"),
    trace.Attempt: (None, "number from=start way requirements=checks met"),
    trace.Repaired: (None, "way requirements=checks met"),
    trace.RequirementResult: (None, "condition=text gate because met seen"),
    trace.Looped: ("repeat", "place=path until=text most turns"),
    trace.Turn: (None, "number way seen met"),
    trace.Chosen: ("best_of", "place=path by=text most candidates picked"),
    trace.Candidate: (None, "number way value seen dropped"),
    ArtefactRecord: (None, "fingerprint key width height facts"),
    Review: (None, "fingerprint accepted reason reviewer reviewed_at"),
}


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
        "reviews": _json(explanation.reviews),
        "finals": [{"visit": visit, "key": key} for visit, key in record.finals.items()],
        "seconds": sum(entry.seconds for entry in entries),
        "cost": sum(entry.cost for entry in entries),
        "problems": list(explanation.problems),
        "way": _json(explanation.way),
        "unplaced": [_recorded(visit, entry) for visit, entry in explanation.unplaced.items()],
    }


def _json(value: Any) -> Any:
    """Return a value of an explanation as JSON: an object by its fields, a list by its items, any other as it is."""
    if type(value) in _OBJECTS:
        kind, fields = _OBJECTS[type(value)]
        document: dict[str, Any] = {"kind": kind} if kind is not None else {}
        for field in fields.split():
            name, _, attribute = field.partition("=")
            document[name] = _json(attrgetter(attribute or name)(value))
        return document | _outcome(value.entry) if isinstance(value, trace.Visited) else document
    match value:
        case Mapping():
            return dict(value)
        case list() | tuple():
            return [_json(each) for each in value]
        case datetime():
            return value.isoformat()
    return value


def _outcome(entry: StepOutcome | None) -> dict[str, Any]:
    return {
        "seconds": entry.seconds if entry else 0.0,
        "cost": entry.cost if entry else 0.0,
        "error": entry.error if entry else None,
        "image": _json(entry.artefact if entry else None),
    }


def _recorded(visit: str, entry: StepOutcome) -> dict[str, Any]:
    return {
        "visit": visit,
        "outcome": entry.outcome.value,
        "seconds": entry.seconds,
        "error": entry.error,
        "image": _json(entry.artefact),
    }
