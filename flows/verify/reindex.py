"""Take images that lie in the store and are missing from the ledger back into it, so that none is computed again.

They are left by a process that was killed between object and row, by a lost ledger, or by the backup of an older one.
Only what an image itself proves is believed: its chain must give its fingerprint, and its facts are measured.
"""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

from PIL import Image

from configs.catalogues.catalogue import BrokenEntry, UnknownName, load_step
from configs.reporting import PixelmillError
from flows.verify.findings import READERS
from gpu_worker.shard.new_artefact import MAX_STORED_PIXELS
from steps.contract import Fact, Step
from steps.facts import measure
from storage.images.image_formats import FORMATS, FormatTraits, UnreadableImage, open_image, reading_errors
from storage.images.images import decode
from storage.images.manifest import manifest_keys
from storage.images.png_recipe import Provenance, read_recipe
from storage.ledger.ledger import Ledger
from storage.ledger.records import ArtefactRecord
from storage.objects.artefacts import ArtefactStore, DamagedObject, MissingObject
from storage.objects.keys import fingerprint, sha256_hex

_SLICE = 200  # objects that are looked up and recorded together
_KEY = re.compile(r"artefacts/[0-9a-f]{2}/([0-9a-f]{64})\.([a-z0-9]+)")
_BY_EXTENSION: Mapping[str, FormatTraits] = {traits.extension: traits for traits in FORMATS.values()}

Facts = Mapping[str, Fact]
Advance = Callable[[int], None]  # called with the number of further objects looked at


class Reindexing(NamedTuple):
    """How many images are in the ledger again, and how many had to be left out, by reason."""

    adopted: int
    left: Counter[str]


class NotIndexable(PixelmillError):
    """The artefact does not prove what it is; the message is the reason."""


class _Result(NamedTuple):
    """A row for the ledger, a reason for none, or neither if the object has disappeared meanwhile."""

    record: ArtefactRecord | None = None
    reason: str | None = None


def reindex_artefacts(store: ArtefactStore, ledger: Ledger, job_name: str, *, advance: Advance) -> Reindexing:
    """Record every artefact in the store that is missing from the ledger, no matter which job made it.

    Facts that only a step can know are taken from the manifest of the job `job_name`, if it has them; an image without
    them is left out, because conditions read them. Raises StoreError where the store refuses or fails.
    """
    reader = _ArtefactReader(store, _ManifestFacts(store, job_name))
    adopted, left = 0, Counter[str]()
    with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-reindex") as pool:
        for keys in _unknown(store, ledger):
            results = list(pool.map(reader.read, keys))
            records = [result.record for result in results if result.record is not None]
            ledger.steps.add_artefacts(records)
            adopted += len(records)
            advance(len(keys))
            left.update(result.reason for result in results if result.reason is not None)
    return Reindexing(adopted, left)


def _unknown(store: ArtefactStore, ledger: Ledger) -> Iterator[list[str]]:
    """Yield the keys of artefacts that are missing from the ledger, in slices."""
    matches = ((match[1], key) for key, _ in store.list("artefacts/") if (match := _KEY.fullmatch(key)))
    while some := dict(islice(matches, _SLICE)):
        known = ledger.steps.find_artefacts(store.root, list(some))
        yield [key for found, key in some.items() if found not in known]


class _ArtefactReader:
    def __init__(self, store: ArtefactStore, manifest: "_ManifestFacts") -> None:
        self._store, self._manifest = store, manifest

    def read(self, key: str) -> _Result:
        try:
            return _Result(self._record(key))
        except MissingObject:
            return _Result()
        except (DamagedObject, UnreadableImage):
            return _Result(reason="it is damaged")
        except NotIndexable as error:
            return _Result(reason=str(error))

    def _record(self, key: str) -> ArtefactRecord:
        data = self._store.get(key)
        image, traits = _whole_image(key, data)
        made = _provenance(key, data)
        return ArtefactRecord(
            root=self._store.root,
            fingerprint=made.fingerprint,
            key=key,
            sha256=sha256_hex(data),
            size=len(data),
            width=image.width,
            height=image.height,
            content_type=traits.content_type,
            step=made.step,
            facts=self._facts(made, measure(image), exact=traits is FORMATS["png"]),
            created_at=datetime.now(UTC),
        )

    def _facts(self, made: Provenance, measured: Facts, *, exact: bool) -> Facts:
        try:
            step: type[Step] = load_step(made.step)
        except (UnknownName, BrokenEntry) as error:
            raise NotIndexable(f"its step {made.step!r} is not in the catalogue") from error
        own = step.own_facts
        if exact and not own:
            return measured
        # Facts were measured before the image was encoded: only a format without loss shows the same ones again.
        recorded = self._manifest.of(made.fingerprint)
        size = {"width", "height"}
        compared = recorded.keys() & measured.keys() if exact else size
        if own.keys() | size <= recorded.keys() and all(recorded[name] == measured[name] for name in compared):
            # A version that measured less wrote less. What a lossy file lacks is measured when it is needed.
            return {**measured, **recorded} if exact else recorded
        if own:
            raise NotIndexable(f"only step {made.step!r} can know its {', '.join(own)}, and no manifest has it")
        # Conditions that read slightly different facts would send items down other paths than before.
        raise NotIndexable("its facts were measured before lossy encoding and are not in the manifest")


def _whole_image(key: str, data: bytes) -> tuple[Image.Image, FormatTraits]:
    """Decode an image. Raises UnreadableImage, also for one wrong bit in a PNG; other formats have no checksum."""
    with reading_errors():
        header = open_image(data)
        header.verify()
    traits = _BY_EXTENSION.get(key.rpartition(".")[2])
    if traits is None or traits.content_type != header.get_format_mimetype():
        raise NotIndexable("its name belongs to another format")
    return decode(data, max_pixels=MAX_STORED_PIXELS), traits


def _provenance(key: str, data: bytes) -> Provenance:
    """Return what made the image. Raises NotIndexable if that is not what its key names."""
    recipe = read_recipe(data)
    if recipe is None or not recipe.steps:
        raise NotIndexable("it has no record of how it was made")
    made = recipe.steps[-1]
    true = fingerprint(
        step=made.step, version=made.version, identity=made.identity, model_digests=made.models, inputs=made.inputs
    )
    if not true == made.fingerprint == key.rpartition("/")[2].partition(".")[0]:
        raise NotIndexable("its record belongs to another image")
    return made


class _ManifestFacts:
    """Facts by fingerprint, read from the manifest when first needed. Safe to share between threads."""

    def __init__(self, store: ArtefactStore, job_name: str) -> None:
        self._store, self._key = store, manifest_keys(job_name).jsonl
        self._facts: dict[str, Facts] | None = None
        self._lock = threading.Lock()

    def of(self, fingerprint: str) -> Facts:
        """Return the facts of an image, empty if the manifest lacks them or cannot be read."""
        with self._lock:
            if self._facts is None:
                self._facts = self._read()
        return self._facts.get(fingerprint, {})

    def _read(self) -> dict[str, Facts]:
        try:
            rows = [json.loads(line) for line in self._store.get(self._key).splitlines()]
            return {step["fingerprint"]: step["facts"] for row in rows for step in row["steps"] if step["fingerprint"]}
        except (MissingObject, DamagedObject, ValueError, LookupError, TypeError):
            return {}
