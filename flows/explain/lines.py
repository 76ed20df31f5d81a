"""An explanation as lines for people: the terminal and the gallery show the same."""

from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from flows.explain.explain import Explanation
from flows.report.render import format_seconds
from gpu_worker.walk.trace import (
    Attempt,
    Branched,
    Chosen,
    Gated,
    Looped,
    Repaired,
    RequirementResult,
    Switched,
    TraceNode,
    Visited,
)
from storage.ledger.records import ItemState, Review, StepOutcome


class Tone(StrEnum):
    STEP = "step"
    ASIDE = "aside"  # a step whose image the item did not go on with
    CHOICE = "choice"
    GOOD = "good"
    BAD = "bad"
    WARN = "warn"


class ExplanationLine(NamedTuple):
    """`visit`: of the image that the line is about."""

    depth: int
    tone: Tone
    text: str
    detail: str = ""
    visit: str | None = None


def lines_of(explanation: Explanation) -> list[ExplanationLine]:
    """Return the lines of the whole path, and of its end."""
    found = [*_way(explanation.way, 0, explanation)]
    found += [
        ExplanationLine(0, Tone.BAD, "the recipe cannot be followed here", problem) for problem in explanation.problems
    ]
    found += [
        ExplanationLine(0, Tone.ASIDE, visit, f"{_recorded(entry)}; the ledger has it, the way does not lead there")
        if not explanation.problems
        else ExplanationLine(0, Tone.STEP, visit, _recorded(entry), visit)
        for visit, entry in explanation.unplaced.items()
        if entry.error is None or entry.error != explanation.report.record.error
    ]
    found += [ExplanationLine(0, Tone.WARN, "warning", warning) for warning in explanation.report.record.warnings]
    found += [_reviewed(review, explanation) for review in explanation.reviews]
    return [*found, *_end(explanation)]


def shown_value(value: Any) -> str:
    """Return the value of a fact or a variable as text."""
    if value is None:
        return "not known"
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)


def _way(way: Iterable[TraceNode], depth: int, explanation: Explanation) -> Iterator[ExplanationLine]:
    for node in way:
        match node:
            case Visited():
                yield _visited(node, depth, explanation)
            case Branched():
                yield _branched(node, depth)
                yield from _way(node.way, depth + 1, explanation)
            case Switched():
                yield ExplanationLine(depth, Tone.CHOICE, f"switch {node.text}", _case(node))
                yield from _way(node.way, depth + 1, explanation)
            case Gated():
                yield from _gated(node, depth, explanation)
            case Looped():
                yield from _looped(node, depth, explanation)
            case Chosen():
                yield from _chosen(node, depth, explanation)


def _case(node: Switched) -> str:
    if node.case is None:
        return f"the default{_brackets(node.seen)}"
    return node.case if node.text in node.seen else f"{node.case}{_brackets(node.seen)}"


def _visited(node: Visited, depth: int, explanation: Explanation) -> ExplanationLine:
    words = [node.by.name] if node.by.name != node.step else []
    words.append(_standing(node, explanation))
    if node.new_seed:
        words.append(f"seed {node.seed}")
    words += [f"{name} {shown_value(value)}" for name, value in node.changed.items()]
    made = node.state in ("computed", "reused")
    if made and not node.counts:
        words.append("set aside")
    tone = Tone.BAD if node.state == "failed" else Tone.STEP if node.counts or not made else Tone.ASIDE
    return ExplanationLine(depth, tone, node.label, " · ".join(words), node.visit if made else None)


def _standing(node: Visited, explanation: Explanation) -> str:
    entry = node.entry
    if node.state == "computed" and entry is not None:
        return f"computed in {format_seconds(entry.seconds)}"
    if node.state == "failed" and entry is not None:
        return f"failed: {entry.error}"
    if node.state == "waiting":
        pending = explanation.report.record.state is ItemState.PENDING
        return "not made yet" if pending else "the ledger has no image of it"
    return {"lost": "made, but the ledger has lost the image: what follows cannot be told"}.get(node.state, node.state)


def _branched(node: Branched, depth: int) -> ExplanationLine:
    subject = f"{node.of} when {node.text}" if node.of else f"when {node.text}"
    if node.met is None:
        return ExplanationLine(depth, Tone.CHOICE, subject, "cannot be told yet")
    answer = "yes" if node.met else "no, not visited" if node.of else "no"
    return ExplanationLine(depth, Tone.CHOICE, subject, f"{answer}{_brackets(node.seen)}")


def _gated(node: Gated, depth: int, explanation: Explanation) -> Iterator[ExplanationLine]:
    good = node.verdict == "passed"
    warned = node.verdict in ("warned", "accepted")
    tone = Tone.GOOD if good else Tone.WARN if warned else Tone.BAD if node.verdict else Tone.CHOICE
    yield ExplanationLine(depth, tone, f"gate {node.name}", _verdict(node))
    yield from _checks(node.checks, depth + 1)
    for attempt in node.attempts:
        text = f"attempt {attempt.number} of {node.tries}"
        yield ExplanationLine(depth + 1, Tone.CHOICE, text, f"again from {attempt.start}{_result(attempt)}")
        yield from _way(attempt.way, depth + 2, explanation)
        yield from _checks(attempt.checks, depth + 2)
    if node.repair is not None:
        yield ExplanationLine(depth + 1, Tone.CHOICE, "repair", _result(node.repair).removeprefix(": "))
        yield from _way(node.repair.way, depth + 2, explanation)
        yield from _checks(node.repair.checks, depth + 2)


def _verdict(node: Gated) -> str:
    if node.verdict == "passed":
        if node.repair is not None and node.repair.met:
            return "passed after the repair"
        return f"passed at attempt {node.attempts[-1].number}" if node.attempts else "passed"
    tried = f" in {len(node.attempts) + 1} attempts" if node.attempts else ""
    end = {
        "warned": "not met{}: a warning, and the item went on",
        "quarantined": "not met{}: the item was quarantined",
        "dropped": "not met{}: this candidate is out",
        "accepted": "not met{}, and accepted by a person",
    }
    return end.get(node.verdict or "", "not met{} so far").format(tried)


def _result(attempt: Attempt | Repaired) -> str:
    return "" if attempt.met is None else ": met" if attempt.met else ": not met"


def _checks(checks: Iterable[RequirementResult], depth: int) -> Iterator[ExplanationLine]:
    for one in checks:
        tone = Tone.CHOICE if one.met is None else Tone.GOOD if one.met else Tone.BAD
        text = f"{one.gate}: {one.text}" if one.gate else one.text
        because = one.because if one.because and one.met is False else ""
        yield ExplanationLine(depth, tone, text, f"{because}{_brackets(one.seen)}".strip())


def _looped(node: Looped, depth: int, explanation: Explanation) -> Iterator[ExplanationLine]:
    times = len(node.turns)
    ended = "ended by its condition" if node.turns and node.turns[-1].met else "its condition never held"
    detail = f"{times} of {node.most} times, {ended}" if node.turns[-1].met is not None else f"time {times}"
    yield ExplanationLine(depth, Tone.CHOICE, f"repeat until {node.text}", detail)
    for turn in node.turns:
        met = "" if turn.met is None else f"{'yes' if turn.met else 'no'}{_brackets(turn.seen)}"
        yield ExplanationLine(depth + 1, Tone.CHOICE, f"time {turn.number}", met)
        yield from _way(turn.way, depth + 2, explanation)


def _chosen(node: Chosen, depth: int, explanation: Explanation) -> Iterator[ExplanationLine]:
    picked = f"candidate {node.picked}" if node.picked is not None else "none yet"
    if node.picked is None and len(node.candidates) == node.most and node.candidates[-1].dropped is not None:
        picked = "no candidate was left"
    yield ExplanationLine(depth, Tone.CHOICE, f"best of {node.most} by {node.text}", picked)
    for candidate in node.candidates:
        won = candidate.number == node.picked
        if candidate.dropped is not None:
            yield ExplanationLine(depth + 1, Tone.BAD, f"candidate {candidate.number}", f"out: {candidate.dropped}")
        else:
            value = shown_value(candidate.value) if candidate.scored else "not compared yet"
            tone = Tone.GOOD if won else Tone.ASIDE if candidate.scored else Tone.CHOICE
            yield ExplanationLine(
                depth + 1, tone, f"candidate {candidate.number}", f"{value}, picked" if won else value
            )
        yield from _way(candidate.way, depth + 2, explanation)


def _reviewed(review: Review, explanation: Explanation) -> ExplanationLine:
    by = f" by {review.reviewer}" if review.reviewer else ""
    reason = f": {review.reason}" if review.reason else ""
    entries = explanation.report.steps.items()
    of = [visit for visit, entry in entries if entry.artefact and entry.artefact.fingerprint == review.fingerprint]
    image = explanation.label(of[-1]) if of else f"an image that this run did not make, {review.fingerprint[:12]}"
    detail = f"{image},{by} on {review.reviewed_at:%Y-%m-%d %H:%M}{reason}"
    return ExplanationLine(
        0, Tone.GOOD if review.accepted else Tone.BAD, "accepted" if review.accepted else "rejected", detail
    )


def _end(explanation: Explanation) -> Iterator[ExplanationLine]:
    record = explanation.report.record
    at = f" at {explanation.label(record.error_step)}" if record.error_step else ""
    match record.state:
        case ItemState.DONE:
            for visit, key in record.finals.items():
                yield ExplanationLine(0, Tone.GOOD, f"final: {explanation.label(visit)}", key, visit)
        case ItemState.PENDING:
            yield ExplanationLine(0, Tone.CHOICE, "not at its end yet")
        case _:
            yield ExplanationLine(0, Tone.BAD, f"{record.state.value}{at}", record.error or "no reason was recorded")


def _recorded(entry: StepOutcome) -> str:
    if entry.error:
        return f"{entry.outcome.value}: {entry.error}"
    return f"{entry.outcome.value} in {format_seconds(entry.seconds)}" if entry.seconds else entry.outcome.value


def _brackets(seen: Mapping[str, Any]) -> str:
    return f" ({', '.join(f'{name} is {shown_value(value)}' for name, value in seen.items())})" if seen else ""
