"""A person's decision about images that gates refused: checked against what the ledger holds, then recorded."""

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from configs.documents.problems import InvalidInput, Problem
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState, Review, ReviewVerdict

Wanted = Mapping[str, str | None]  # item -> fingerprint of the image that the person saw; None: the one that it has now


class ReviewOutcome(NamedTuple):
    """What was recorded, and how many items of the job wait still."""

    items: tuple[str, ...]
    waiting: int


def decide(
    job_id: str,
    wanted: Wanted | None,
    verdict: ReviewVerdict,
    *,
    reason: str | None,
    reviewer: str | None,
    ledger: Ledger,
) -> ReviewOutcome:
    """Records the verdict about the images of these items; None: of all that wait.

    A decision can be changed as long as the item is quarantined. Raises InvalidInput with every mistake, and then
    nothing is recorded.
    """
    refused = ledger.refused_images(job_id)
    if wanted is None:
        chosen = {name: image for name, (image, decided) in refused.items() if decided is None}
    else:
        problems = [*_problems(job_id, wanted, refused, ledger)]
        if problems:
            raise InvalidInput(problems)
        chosen = {name: refused[name][0] for name in wanted}
    now = datetime.now(UTC)
    reviews = [Review(name, image, verdict, reason or None, reviewer, now) for name, image in chosen.items()]
    ledger.add_reviews(job_id, reviews)
    return ReviewOutcome(tuple(chosen), ledger.count_waiting(job_id))


def _problems(
    job_id: str, wanted: Wanted, refused: Mapping[str, tuple[str, ReviewVerdict | None]], ledger: Ledger
) -> list[Problem]:
    if not wanted:
        return [Problem("items", "name at least one, or all that wait (`--all`)")]
    problems = []
    unknown = [name for name in wanted if name not in refused]
    if unknown:
        records = {record.item.name: record for record in ledger.items(job_id)}
        for name in unknown:
            if (record := records.get(name)) is None:
                near = difflib.get_close_matches(name, refused, n=1) or difflib.get_close_matches(name, records, n=1)
                hint = f"; did you mean `{near[0]}`?" if near else ""
                problems.append(Problem(name, f"the job has no such item{hint}"))
            elif record.state is ItemState.QUARANTINED:
                message = f"no gate refused an image of it, so there is nothing to decide: {record.error}"
                problems.append(Problem(name, message))
            else:
                problems.append(Problem(name, f"is not quarantined: it is {record.state.value}"))
    for name, seen in wanted.items():
        if name in refused and seen is not None and seen != refused[name][0]:
            problems.append(Problem(name, "has another image by now: look at that one first"))
    return problems
