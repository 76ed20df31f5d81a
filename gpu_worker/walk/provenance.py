"""The provenance of the image that a step makes of an item: the identity of the step, its models and its inputs."""

from collections.abc import Callable, Mapping

from configs.documents.fields import Item
from configs.failures import PixelmillError
from gpu_worker.walk.item_context import ItemError
from steps.recipe.program import Visit
from storage.images.png_recipe import Provenance
from storage.objects.keys import fingerprint

DigestFile = Callable[[str], str]  # location of an item's file -> SHA-256 of its bytes


class JobMismatch(PixelmillError):
    """The job was planned with other models than these steps use. Concerns every item."""


def provenance_of(
    visit: Visit, item: Item, source: str | None, model_digests: Mapping[str, str], digest_file: DigestFile
) -> Provenance:
    """Return what decides the image that this visit makes of the item, with its fingerprint.

    `source` is the fingerprint of the image that the item has, None before the first. Raises ItemError, JobMismatch,
    and whatever `digest_file` and the step raise.
    """
    item, step = visit.item(item), visit.step
    if source is None and not step.makes_image:
        raise ItemError(
            f"step {visit.step_id!r} needs an image, and no step before it made one: begin with `generate` or `load`, "
            "or change the conditions"
        )
    inputs = [] if source is None else [source]
    for file in step.item_files(item):
        location = getattr(item, file)
        if location is None:
            raise ItemError(f"step {visit.step_id!r} needs the item's {file}: give the item one")
        inputs.append(digest_file(location))
    identity = step.identity(item)
    models = {str(ref): _digest(str(ref), visit, model_digests) for ref in step.model_refs()}
    return Provenance(
        step=visit.name,
        version=step.version,
        identity=identity,
        models=models,
        inputs=tuple(inputs),
        fingerprint=fingerprint(
            step=visit.name, version=step.version, identity=identity, model_digests=models, inputs=inputs
        ),
    )


def _digest(ref: str, visit: Visit, model_digests: Mapping[str, str]) -> str:
    try:
        return model_digests[ref]
    except KeyError:
        message = f"step {visit.step_id!r} uses {ref}, which the job was not planned with: plan it again"
        raise JobMismatch(message) from None
