"""A job whose images are drawn by code: what gallery and report have to show, without running a model."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from PIL import Image

from configs.documents.fields import Item
from configs.recipe.recipe import Recipe
from starter.sprites import BACKGROUNDS, COLORS, OBJECTS, Sprite, draw_sprite
from storage.ledger.ledger import Ledger
from storage.ledger.records import (
    ArtefactRecord,
    ItemRecord,
    ItemReport,
    ItemState,
    JobRecord,
    JobStatus,
    Outcome,
    StepOutcome,
)
from storage.objects.artefacts import ArtefactStore
from storage.objects.keys import artefact_key, final_key, sha256_hex

HOSTILE_NAMES = (
    "</script><script>document.title='injected'</script>",
    '"><img src=x onerror="document.title=`injected`">',
    "50% off #1? yes & no",
    "名前 ünïcode 🧪",
    "{{ 7 * 7 }} {% raw %}",
    "a:b;c'd`e",
)
NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)

RECIPE = Recipe.model_validate(
    {
        "name": "game-icons",
        "steps": [
            {"id": "generate", "step": "generate", "model": "starter"},
            {"id": "cut_out", "step": "remove_background", "model": "starter"},
            {"id": "repair", "step": "inpaint", "model": "starter", "when": "cut_out.alpha_coverage < 0.2"},
            {"id": "upscale", "step": "upscale", "model": "starter", "factor": 4},
        ],
    }
)


def sprite_job(store: ArtefactStore, *, name: str = "spring-icons", total: int = 60) -> JobRecord:
    return JobRecord(
        id=f"{name}-1a2b3c",
        name=name,
        output=store.root,
        revision="0" * 64,
        run=1,
        recipe=RECIPE,
        model_digests={},
        status=JobStatus.INCOMPLETE,
        total=total,
        error=None,
        created_at=NOW,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=83.4),
    )


def record_sprite_job(ledger: Ledger, store: ArtefactStore, *, total: int, name: str = "spring-icons") -> JobRecord:
    """Tells the ledger of a first run that made `sprite_reports`, to its end."""
    job = sprite_job(store, name=name, total=total)
    reports = list(sprite_reports(job, store, total, size=16))
    ledger.runs.start(
        job_id=job.id,
        name=job.name,
        output=job.output,
        revision=job.revision,
        recipe=job.recipe,
        model_digests={},
        items=[(report.record.item, 0) for report in reports],
    )
    for step in job.recipe.steps:
        entries = [report.steps[step.id] for report in reports if step.id in report.steps]
        ledger.steps.record(job.id, 1, step.id, entries)
    last_step = job.recipe.steps[-1].id
    ledger.steps.record(job.id, 1, last_step, [], {report.record.item.index: report.record for report in reports})
    ledger.runs.record_model_load(job.id, 1, "starter/diffusion", "here", 1.5)
    states = {report.record.state for report in reports}
    ledger.jobs.set_status(job.id, JobStatus.DONE if states == {ItemState.DONE} else JobStatus.INCOMPLETE)
    return ledger.jobs.get(job.id)


def sprite_item(index: int) -> Item:
    thing, color = OBJECTS[index % len(OBJECTS)], tuple(COLORS)[index % 7]
    name = (
        HOSTILE_NAMES[index // 5]
        if index % 5 == 3 and index // 5 < len(HOSTILE_NAMES)
        else f"{index:04d}-{color}-{thing}"
    )
    return Item(
        index=index,
        name=name,
        prompt=f"a {color} {thing}, game icon </script> \"quoted\" & 'plain'",
        negative_prompt="text, watermark",
        seed=2**63 - 1 - index,
        vars={"object": thing, "color": color, "__proto__": "<b>no</b>", "big": 2**60},
    )


def sprite_reports(job: JobRecord, store: ArtefactStore, total: int = 60, size: int = 64) -> Iterator[ItemReport]:
    """Every 10th item fails (half of them before any image), every 15th is quarantined, every 4th visits `repair`."""
    for index in range(total):
        yield _report(job, store, sprite_item(index), size)


def _report(job: JobRecord, store: ArtefactStore, item: Item, size: int) -> ItemReport:
    index = item.index
    if index % 20 == 9:
        error = "no answer from the device: out of memory at micro-batch 1 <b>bold?</b>"
        failed = {"generate": StepOutcome(index, Outcome.FAILED, error=error, traceback="File '/secret/path.py'")}
        return ItemReport(ItemRecord(ItemState.FAILED, error=error, error_step="generate", item=item, shard=0), failed)
    sprite = draw_sprite(
        OBJECTS[index % len(OBJECTS)], tuple(COLORS)[index % 7], BACKGROUNDS[index % len(BACKGROUNDS)], index, size
    )
    steps = {"generate": _entry(job, store, index, "generate", sprite.image, 0.31)}
    if index % 20 == 19:
        error = "the mask is empty: nothing was found in the foreground"
        steps["cut_out"] = StepOutcome(index, Outcome.FAILED, error=error)
        return ItemReport(ItemRecord(ItemState.FAILED, error=error, error_step="cut_out", item=item, shard=0), steps)
    cut = _cut_out(sprite)
    steps["cut_out"] = _entry(job, store, index, "remove_background", cut, 0.08)
    if index % 15 == 7:
        error = "gate `alpha_coverage >= 0.2` not met after 3 tries"
        return ItemReport(
            ItemRecord(ItemState.QUARANTINED, error=error, error_step="cut_out", item=item, shard=0), steps
        )
    steps["repair"] = (
        _entry(job, store, index, "inpaint", cut, 0.2) if index % 4 == 0 else StepOutcome(index, Outcome.SKIPPED)
    )
    large = cut.resize((cut.width * 4, cut.height * 4), Image.Resampling.LANCZOS)
    steps["upscale"] = _entry(job, store, index, "upscale", large, 0.05)
    final = final_key(job.name, item.name, "png")
    store.publish(steps["upscale"].artefact.key, final, content_type="image/png")
    return ItemReport(ItemRecord(ItemState.DONE, finals={"upscale": final}, item=item, shard=0), steps)


def _cut_out(sprite: Sprite) -> Image.Image:
    image = sprite.image.copy()
    image.putalpha(sprite.mask)
    return image


def _entry(
    job: JobRecord, store: ArtefactStore, index: int, step: str, image: Image.Image, seconds: float
) -> StepOutcome:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = buffer.getvalue()
    fingerprint = sha256_hex(json.dumps([job.name, index, step]).encode())
    key = artefact_key(fingerprint, "png")
    sha256 = sha256_hex(data)
    store.put(key, data, sha256=sha256, content_type="image/png")
    artefact = ArtefactRecord(
        root=store.root,
        fingerprint=fingerprint,
        key=key,
        sha256=sha256,
        size=len(data),
        width=image.width,
        height=image.height,
        content_type="image/png",
        step=step,
        facts={"alpha_coverage": 0.1 + index / 100, "sharpness": 812.123456789, "has_alpha": image.mode == "RGBA"},
        created_at=NOW,
    )
    outcome = Outcome.REUSED if step == "generate" and index % 6 == 0 else Outcome.COMPUTED
    return StepOutcome(index, outcome, 0.0 if outcome is Outcome.REUSED else seconds, artefact)
