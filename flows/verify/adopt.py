"""Adopts images that lie in the store and that the ledger has forgotten, so that nothing is computed again.

They are left by a process that was killed between object and row, or the ledger was lost, or an older backup of it
restored. Only what an image itself proves is believed: its chain must give its fingerprint, and its facts are measured.
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
Advance = Callable[[int], None]  # told how many more objects that the ledger does not know were looked at


class Adoption(NamedTuple):
    """How many images the ledger knows again, and how many it could not be told of, by reason."""

    adopted: int
    left: Counter[str]


class NotAdoptable(PixelmillError):
    """The message says why."""


def adopt_artefacts(store: ArtefactStore, ledger: Ledger, job_name: str, *, advance: Advance) -> Adoption:
    """Tells the ledger of every artefact in the store that it does not know, whichever job made it.

    Facts that a step alone can know are taken from the manifest of the job `job_name`, if it has them; an image
    without them is left alone, for conditions read them. Raises StoreError where the store refuses or fails.
    """
    adopter = _Adopter(store, _ManifestFacts(store, job_name))
    adopted, left = 0, Counter[str]()
    with ThreadPoolExecutor(READERS, thread_name_prefix="pixelmill-adopt") as pool:
        for keys in _unknown(store, ledger):
            found = list(pool.map(adopter.try_adopt, keys))
            records = [record for record in found if isinstance(record, ArtefactRecord)]
            ledger.steps.add_artefacts(records)
            adopted += len(records)
            advance(len(keys))
            left.update(reason for reason in found if isinstance(reason, str))
    return Adoption(adopted, left)


def _unknown(store: ArtefactStore, ledger: Ledger) -> Iterator[list[str]]:
    """Keys of artefacts that the ledger does not know, in slices."""
    matches = ((match[1], key) for key, _ in store.list("artefacts/") if (match := _KEY.fullmatch(key)))
    while some := dict(islice(matches, _SLICE)):
        known = ledger.steps.find_artefacts(store.root, list(some))
        yield [key for found, key in some.items() if found not in known]


class _Adopter:
    def __init__(self, store: ArtefactStore, manifest: "_ManifestFacts") -> None:
        self._store, self._manifest = store, manifest

    def try_adopt(self, key: str) -> ArtefactRecord | str | None:
        """Its row; or why it cannot have one; None if it is gone meanwhile."""
        try:
            return self._adopt(key)
        except MissingObject:
            return None
        except (DamagedObject, UnreadableImage):
            return "it is damaged"
        except NotAdoptable as reason:
            return str(reason)

    def _adopt(self, key: str) -> ArtefactRecord:
        data = self._store.get(key)
        image, traits = _whole_image(key, data)
        mark = _last_mark(key, data)
        return ArtefactRecord(
            root=self._store.root,
            fingerprint=mark.fingerprint,
            key=key,
            sha256=sha256_hex(data),
            size=len(data),
            width=image.width,
            height=image.height,
            content_type=traits.content_type,
            step=mark.step,
            facts=self._facts(mark, measure(image), exact=traits is FORMATS["png"]),
            created_at=datetime.now(UTC),
        )

    def _facts(self, mark: Provenance, measured: Facts, *, exact: bool) -> Facts:
        try:
            step: type[Step] = load_step(mark.step)
        except (UnknownName, BrokenEntry) as error:
            raise NotAdoptable(f"its step {mark.step!r} is not in the catalogue") from error
        own = step.own_facts
        if exact and not own:
            return measured
        # Facts were measured before the image was encoded: only a format without loss shows the same ones again.
        told = self._manifest.of(mark.fingerprint)
        size = {"width", "height"}
        compared = told.keys() & measured.keys() if exact else size
        if own.keys() | size <= told.keys() and all(told[name] == measured[name] for name in compared):
            # A version that measured less wrote less. What a lossy file lacks is measured where somebody asks.
            return {**measured, **told} if exact else told
        if own:
            raise NotAdoptable(f"only step {mark.step!r} can know its {', '.join(own)}, and no manifest tells it")
        # Conditions that read facts a little off would send items other ways than before.
        raise NotAdoptable("its facts were measured before its file lost some of it, and no manifest tells them")


def _whole_image(key: str, data: bytes) -> tuple[Image.Image, FormatTraits]:
    """Raises UnreadableImage, also for a PNG of which a single bit has changed; other formats have no checksum."""
    with reading_errors():
        header = open_image(data)
        header.verify()
    traits = _BY_EXTENSION.get(key.rpartition(".")[2])
    if traits is None or traits.content_type != header.get_format_mimetype():
        raise NotAdoptable("its name says that it is of another format")
    return decode(data, max_pixels=MAX_STORED_PIXELS), traits


def _last_mark(key: str, data: bytes) -> Provenance:
    """What made the image, if that is what its key says."""
    recipe = read_recipe(data)
    if recipe is None or not recipe.steps:
        raise NotAdoptable("it does not say how it was made")
    mark = recipe.steps[-1]
    true = fingerprint(
        step=mark.step, version=mark.version, identity=mark.identity, model_digests=mark.models, inputs=mark.inputs
    )
    if not true == mark.fingerprint == key.rpartition("/")[2].partition(".")[0]:
        raise NotAdoptable("it says that it is another image")
    return mark


class _ManifestFacts:
    """Facts by fingerprint, read from the manifest when first asked for. Safe to share between threads."""

    def __init__(self, store: ArtefactStore, job_name: str) -> None:
        self._store, self._key = store, manifest_keys(job_name).jsonl
        self._facts: dict[str, Facts] | None = None
        self._lock = threading.Lock()

    def of(self, fingerprint: str) -> Facts:
        """Empty if the manifest does not tell, or cannot be read."""
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
