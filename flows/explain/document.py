"""An explanation as JSON. docs/explain.md describes it; a test compares the two."""

from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

from configs.documents.uris import shown
from flows.explain.explain import Explanation
from gpu_worker.walk.trace import (
    Attempt,
    Branched,
    Candidate,
    Chosen,
    Gated,
    Looped,
    Repaired,
    RequirementResult,
    Switched,
    Turn,
    Visited,
)
from storage.ledger.records import ArtefactRecord, Review, StepOutcome

_KINDS = {Visited: "step", Branched: "branch", Switched: "switch", Gated: "gate", Looped: "repeat", Chosen: "best_of"}
# The fields of each object in order; `place=path`: the field `place` has the value of the attribute `path`.
_FIELDS: Mapping[type, str] = {
    Visited: "place=by.path visit step attempt name=by.name standing=state counts source seed changed",
    Branched: "place=path step=of condition=text seen met way",
    Switched: "place=path value=text seen case way",
    Gated: "place=path name step=of requirements=checks met tries attempts repair verdict",
    Attempt: "number from=start way requirements=checks met",
    Repaired: "way requirements=checks met",
    RequirementResult: "condition=text gate because met seen",
    Looped: "place=path until=text most turns",
    Turn: "number way seen met",
    Chosen: "place=path by=text most candidates picked",
    Candidate: "number way value seen dropped",
    ArtefactRecord: "fingerprint key width height facts",
    Review: "fingerprint accepted reason reviewer reviewed_at",
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
    """Return a value of an explanation as JSON: an object by its _FIELDS, a list by its items, any other as it is."""
    if (fields := _FIELDS.get(type(value))) is not None:
        document = {"kind": _KINDS[type(value)]} if type(value) in _KINDS else {}
        for field in fields.split():
            name, _, attribute = field.partition("=")
            document[name] = _json(attrgetter(attribute or name)(value))
        return document | _outcome(value.entry) if isinstance(value, Visited) else document
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
