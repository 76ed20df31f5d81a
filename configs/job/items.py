"""From entries to items: names, seeds, variables and input files."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from configs.documents import uris
from configs.documents.item import Item, Scalar
from configs.documents.problems import Problem
from configs.documents.text import collision_key, slug
from configs.documents.yaml_source import child
from configs.job.job import ItemEntry
from configs.settings.access import Access


class Place(NamedTuple):
    """Where an item was written."""

    path: str
    file: str
    line: int | None

    def problem(self, field: str, message: str) -> Problem:
        """A problem of one field of the item."""
        return Problem(child(self.path, field) if field else self.path, message, self.file, self.line)

    def __str__(self) -> str:
        return f"line {self.line} of {self.file}" if self.line else self.file


class ItemDraft(NamedTuple):
    """An entry, where it was written, and the folders that its files may be relative to, best first."""

    entry: ItemEntry
    place: Place
    folders: tuple[str, ...]


class Found(NamedTuple):
    """Where an input file is, or would be, and what is wrong with that."""

    uri: str  # an absolute path, or an s3:// or web URI
    objection: str | None = None


class Files:
    """Finds input files, each looked for once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._found: dict[tuple[str, tuple[str, ...]], Found] = {}

    def find(self, text: str, folders: tuple[str, ...]) -> Found:
        """The file in the first folder that has it. Those on disk must exist; others are not looked for.

        What a job may not read is not looked for either: it must not learn whether that exists.
        """
        key = (text, folders)
        if key not in self._found:
            self._found[key] = self._find(text, folders)
        return self._found[key]

    def _find(self, text: str, folders: tuple[str, ...]) -> Found:
        tried = list(dict.fromkeys(uris.resolve(text, folder) for folder in folders))
        objections = [self._access.objection_to_reading(uri) for uri in tried]
        allowed = [uri for uri, objection in zip(tried, objections, strict=True) if objection is None]
        for uri in allowed:
            if uris.is_remote(uri) or Path(uri).is_file():
                return Found(uri)
        return Found(tried[0], f"no such file: {' or '.join(allowed)}" if allowed else objections[0])


def derive_seed(base: int, name: str, number: int) -> int:
    """A seed of 63 bits that depends on nothing but its arguments: the first bits of a SHA-256."""
    digest = hashlib.sha256(f"{base}\0{name}\0{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def name_drafts(drafts: Sequence[ItemDraft]) -> tuple[list[str], list[Problem]]:
    """A name for each draft, and the names that collide.

    Without a name of its own, a draft is called by the words of its prompt, or its image's file name, or its number;
    a number is added if that is taken. Names that differ only in case collide: folders on many machines cannot hold
    both.
    """
    problems = []
    taken: dict[str, Place] = {}
    for draft in drafts:
        name = draft.entry.name
        if name is None:
            continue
        first = taken.get(collision_key(name))
        if first is None:
            taken[collision_key(name)] = draft.place
        else:
            hint = "; give the templates a `name`" if draft.place.path in ("matrix", "zip") else ""
            message = f"the name `{name}` is taken (upper and lower case count as equal) by an item in {first}{hint}"
            problems.append(draft.place.problem("name", message))
    counters: dict[str, int] = {}
    names = [
        draft.entry.name if draft.entry.name is not None else _free_name(draft, number, taken, counters)
        for number, draft in enumerate(drafts)
    ]
    return names, problems


def _free_name(draft: ItemDraft, number: int, taken: dict[str, Place], counters: dict[str, int]) -> str:
    entry = draft.entry
    stem = slug(entry.prompt) if entry.prompt else slug(uris.stem_of(entry.image)) if entry.image else ""
    stem = stem or f"item-{number:06d}"
    name = stem
    while collision_key(name) in taken:
        counters[stem] = counters.get(stem, 1) + 1
        name = f"{stem}-{counters[stem]}"
    taken[collision_key(name)] = draft.place
    return name


def make_items(
    drafts: Sequence[ItemDraft],
    names: Sequence[str],
    *,
    seed: int,
    seeds_per_item: int,
    job_vars: Mapping[str, Scalar],
    access: Access,
) -> tuple[list[Item], list[Problem]]:
    """`seeds_per_item` items of each draft, in order, and the input files that are missing or may not be read.

    More than one image of a draft are named `<name>-1`, `<name>-2` … An entry's own seed is its first image's; all
    other seeds are derived from it, or from the job's, so that no item's image depends on another item.
    """
    files, items, problems = Files(access), list[Item](), list[Problem]()
    for draft, name in zip(drafts, names, strict=True):
        entry = draft.entry
        found, missing = _find_files(draft, files)
        problems += missing
        variables = {**job_vars, **entry.vars}
        base = seed if entry.seed is None else entry.seed
        for number in range(seeds_per_item):
            own = entry.seed is not None and number == 0
            items.append(
                Item(
                    index=len(items),
                    name=name if seeds_per_item == 1 else f"{name}-{number + 1}",
                    prompt=entry.prompt,
                    negative_prompt=entry.negative_prompt,
                    seed=base if own else derive_seed(base, name, number),
                    vars=variables,
                    image=found["image"],
                    mask=found["mask"],
                )
            )
    return items, problems


def _find_files(draft: ItemDraft, files: Files) -> tuple[dict[str, str | None], list[Problem]]:
    found: dict[str, str | None] = {"image": draft.entry.image, "mask": draft.entry.mask}
    problems = []
    for field, text in found.items():
        if text is None:
            continue
        # With an objection too: later checks should see an item with a file.
        found[field], objection = files.find(text, draft.folders)
        if objection is not None:
            problems.append(draft.place.problem(field, objection))
    return found, problems


def variables_of(items: Sequence[Item]) -> Iterator[str]:
    """Names of variables that any item has, in order of appearance."""
    yield from dict.fromkeys(name for item in items for name in item.vars)
