"""The final images of an item, and their names."""

from collections.abc import Iterable, Mapping

from configs.recipe.recipe import VisitId
from storage.ledger.records import JobRecord
from storage.objects.keys import final_key


def final_keys(job: JobRecord, item: str, images: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return visit id -> key of the final. `images`: visit id and artefact key of each of the item's images, in order.

    Final are the images of the steps that the recipe keeps, as far as the item visited them, or else its last image.
    """
    made = dict(images)
    kept = [visit for visit in made if step_of(visit) in job.recipe.keep] or list(made)[-1:]
    named_by_step = len(job.recipe.keep) > 1
    return {
        visit: final_key(job.name, item, made[visit].rpartition(".")[2], step=step_of(visit) if named_by_step else None)
        for visit in kept
    }


def step_of(visit: str) -> str:
    """Return the id of a visit's step: `base` for `base~2`."""
    return VisitId.parse(visit).step


def in_order(visit: str, order: Mapping[str, int]) -> tuple[int, int]:
    """Return a sort key of visits: position of the step in the recipe, then number of the visit."""
    step, number = VisitId.parse(visit)
    return order.get(step, len(order)), number
