"""Which of an item's images are final, and under which names."""

from collections.abc import Iterable

from storage.keys import final_key
from storage.records import JobRecord


def final_keys(job: JobRecord, item: str, images: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Step id -> key of the final. `images`: step id and artefact key of each step visited, in order.

    Final are the images of the steps that the recipe keeps, as far as the item visited them, or else its last image.
    """
    made = dict(images)
    kept = [step for step in job.recipe.keep if step in made] or list(made)[-1:]
    named_by_step = len(job.recipe.keep) > 1
    return {
        step: final_key(job.name, item, made[step].rpartition(".")[2], step=step if named_by_step else None)
        for step in kept
    }
