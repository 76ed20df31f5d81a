"""The items of a job: entries from every source of the job, their names, seeds, variables and input files."""

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from configs.documents import uris
from configs.documents.fields import DERIVED_SEEDS, NO_SEED, Item, Scalar, collision_key, objection_to_name, slug
from configs.documents.problems import Problem, Salvaged, child
from configs.documents.yaml_source import Document
from configs.job.csv_dialect import plain_name
from configs.job.dynamic_prompts import Expand, as_written, expander
from configs.job.file_sets import ListFiles, names_files, read_image_set, split_glob
from configs.job.job import Grid, ItemEntry, Job, Kind, as_declared, expand_grid, grid_problems, grid_size
from configs.job.tables import read_table
from configs.settings.access import Access


class Origin(NamedTuple):
    """Position of an item in its source."""

    path: str
    file: str
    line: int | None

    def problem(self, field: str, message: str) -> Problem:
        """Return a problem of one field of the item."""
        return Problem(child(self.path, field) if field else self.path, message, self.file, self.line)

    def variable_problem(self, name: str, message: str) -> Problem:
        """Return a problem of one of its variables: in tables and templates these are beside the fields."""
        return self.problem(f"vars.{name}" if self.path.startswith("items[") else name, message)

    def __str__(self) -> str:
        return f"line {self.line} of {self.file}" if self.line else self.file


class ItemDraft(NamedTuple):
    """An entry, where it was written, and the folders that its files may be relative to, best first."""

    entry: ItemEntry
    origin: Origin
    folders: tuple[str, ...]


def find_file(access: Access, text: str, folders: tuple[str, ...]) -> tuple[str, str | None]:
    """Return an absolute path or a URI in the first folder that has the file, and what is wrong with it, if anything.

    Files on disk must exist; remote ones are not looked up, nor is what a job may not read: it must not learn whether
    that exists.
    """
    tried = list(dict.fromkeys(uris.resolve(text, folder) for folder in folders))
    objections = [access.objection_to_reading(uri) for uri in tried]
    allowed = [uri for uri, objection in zip(tried, objections, strict=True) if objection is None]
    for uri in allowed:
        if uris.is_remote(uri) or Path(uri).is_file():
            return uri, None
    return tried[0], f"no such file: {' or '.join(allowed)}" if allowed else objections[0]


def derive_seed(base: int, name: str, number: int) -> int:
    """Return a seed from its arguments alone: bits of a SHA-256.

    It is what is left of the 63 bits of earlier versions, by which `keep_seeds` finds those, and which draw the same
    noise: generators on CPUs read no more than these.
    """
    digest = hashlib.sha256(f"{base}\0{name}\0{number}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 1) % DERIVED_SEEDS


def name_drafts(drafts: Sequence[ItemDraft], *, portable: bool = True) -> tuple[list[str], list[Problem]]:
    """Return a name for each draft, and the collisions; with `portable` also names that not every system takes.

    A draft without a name gets the words of its prompt, or its image's file name, or its number; a number is added if
    that is taken. Names that differ only in case collide: folders on many machines cannot hold both.
    """
    problems = []
    taken: dict[str, Origin] = {}
    for draft in drafts:
        name = draft.entry.name
        if name is None:
            continue
        if portable and (objection := objection_to_name(name)) is not None:
            advice = "rename it, or set PIXELMILL_PORTABLE_NAMES=false"
            message = f"the name `{name}` {objection}, which Windows refuses: {advice}"
            problems.append(draft.origin.problem("name", message))
        first = taken.get(collision_key(name))
        if first is None:
            taken[collision_key(name)] = draft.origin
        else:
            hint = "; give the templates a `name`" if draft.origin.path in ("matrix", "zip") else ""
            message = f"the name `{name}` is taken (upper and lower case count as equal) by an item in {first}{hint}"
            problems.append(draft.origin.problem("name", message))
    counters: dict[str, int] = {}
    names = [
        draft.entry.name if draft.entry.name is not None else _free_name(draft, number, taken, counters)
        for number, draft in enumerate(drafts)
    ]
    return names, problems


def _free_name(draft: ItemDraft, number: int, taken: dict[str, Origin], counters: dict[str, int]) -> str:
    entry = draft.entry
    stem = slug(entry.prompt) if entry.prompt else slug(uris.stem_of(entry.image)) if entry.image else ""
    if not stem or objection_to_name(stem) is not None:
        stem = f"item-{number:06d}"
    name = stem
    while collision_key(name) in taken:
        counters[stem] = counters.get(stem, 1) + 1
        name = f"{stem}-{counters[stem]}"
    taken[collision_key(name)] = draft.origin
    return name


def make_items(
    drafts: Sequence[ItemDraft],
    names: Sequence[str],
    *,
    seed: int,
    seeds_per_item: int,
    job_vars: Mapping[str, Scalar],
    access: Access,
    declared: Mapping[str, Scalar] = MappingProxyType({}),
    expand: Expand = as_written,
) -> tuple[list[Item], list[Problem]]:
    """Return `seeds_per_item` items of each draft, in order, and problems of input files.

    More than one image of a draft are named `<name>-1`, `<name>-2` … An entry's own seed is its first image's; all
    other seeds are derived from it, or from the job's, so that no item's image depends on another item. `declared` are
    variables with their defaults, whose kind items keep to; `expand` makes the choices of dynamic prompts.
    """
    find = cache(partial(find_file, access))  # many items may have one file
    items, problems = list[Item](), list[Problem]()
    for draft, name in zip(drafts, names, strict=True):
        entry = draft.entry
        found: dict[str, str | None] = {"image": entry.image, "mask": entry.mask}
        for kind, text in found.items():
            if text is not None:
                # With an objection too: later checks should see an item with a file.
                found[kind], objection = find(text, draft.folders)
                if objection is not None:
                    problems.append(draft.origin.problem(kind, objection))
        variables = {**job_vars, **entry.vars}
        for variable in declared.keys() & entry.vars.keys():
            variables[variable], wrong = as_declared(entry.vars[variable], declared[variable])
            if wrong is not None:
                problems.append(draft.origin.variable_problem(variable, wrong))
        given = entry.seed if entry.seed != NO_SEED else None
        base = seed if given is None else given
        for number in range(seeds_per_item):
            own = given is not None and number == 0
            item_seed = base if own else derive_seed(base, name, number)
            prompts: dict[str, str | None] = {"prompt": entry.prompt, "negative_prompt": entry.negative_prompt}
            for kind, prompt in prompts.items():
                try:
                    prompts[kind] = expand(prompt, item_seed, kind) if prompt is not None else None
                except ValueError as error:
                    problems.append(draft.origin.problem(kind, str(error)))
            items.append(
                Item(
                    index=len(items),
                    name=name if seeds_per_item == 1 else f"{name}-{number + 1}",
                    **prompts,
                    seed=item_seed,
                    vars=variables,
                    image=found["image"],
                    mask=found["mask"],
                )
            )
    return items, problems


NO_SEED_NOTICE = (
    f"a seed of {NO_SEED} is taken as none: seeds are derived, and the same in each run; give the job another `seed` "
    "for other images"
)


def variables_of(items: Sequence[Item]) -> Iterator[str]:
    """Yield the names of variables that any item has, in order of appearance."""
    yield from dict.fromkeys(name for item in items for name in item.vars)


MAX_CHARACTERS = 1_000_000_000  # of all items' texts: what planning, ledger and manifest have to hold
ReadBytes = Callable[[str], bytes]  # of a path or a URI; raises OSError


@dataclass(frozen=True, slots=True)
class JobItems:
    """The items of a job, and where each was written. `complete`: nothing was left out because of a mistake."""

    items: tuple[Item, ...]
    origins: tuple[Origin, ...]
    problems: list[Problem]
    complete: bool
    notices: tuple[str, ...] = ()  # what was left out on purpose


@dataclass(slots=True, kw_only=True)
class JobSource:
    """A job as read from its document, and what decides how it is expanded.

    Relative paths start at `folder`, the job file's. A job of more than `max_items` is refused before it is expanded.
    `defaults` are the recipe's variables; the job's own win, and an item's win over both. `reads` are the names of all
    variables that the recipe reads.
    """

    read: Salvaged[Job]
    document: Document
    folder: str
    max_items: int
    read_bytes: ReadBytes
    list_files: ListFiles
    access: Access
    defaults: Mapping[str, Scalar]
    reads: Collection[str] = ()
    portable_names: bool = True
    problems: list[Problem] = field(default_factory=list, init=False)
    notices: list[str] = field(default_factory=list, init=False)

    @property
    def job(self) -> Job:
        assert self.read.value is not None
        return self.read.value

    def report(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message, self.document.file, self.document.line(path)))


def job_items(source: JobSource) -> JobItems:
    """Expand the job: listed items, then the table's or the matrix's, then zip's; each with all its seeds."""
    if source.read.value is None:
        return JobItems((), (), [], complete=False)
    drafts = list(_within_memory(_drafts(source), source))
    names, collisions = name_drafts(drafts, portable=source.portable_names)
    job = source.job
    _report_unread(source, drafts)
    lists = None if job.wildcards is None else uris.resolve(job.wildcards, source.folder)
    expand: Expand = as_written
    wrong = "has no effect without `dynamic_prompts: true`" if lists else None
    if job.dynamic_prompts:
        expand, wrong = expander(lists, source.access, source.list_files, source.read_bytes)
    if wrong is not None:
        source.report("wildcards", wrong)
    job_vars = {**source.defaults, **job.vars}
    declared = {**job.vars, **source.defaults}
    for name in job.vars:
        job_vars[name], wrong = as_declared(job.vars[name], declared[name])
        if wrong is not None:
            source.report(child("vars", name), wrong)
    items, missing = make_items(
        drafts,
        names,
        seed=max(job.seed, 0),
        seeds_per_item=job.seeds_per_item,
        job_vars=job_vars,
        access=source.access,
        declared=declared,
        expand=expand,
    )
    if NO_SEED in (job.seed, *(draft.entry.seed for draft in drafts)):
        source.notices.append(NO_SEED_NOTICE)
    problems = list(dict.fromkeys([*source.problems, *collisions, *missing]))
    origins = tuple(draft.origin for draft in drafts for _ in range(job.seeds_per_item))
    complete = not source.problems and source.read.bad.isdisjoint(("items", "matrix", "zip", "vars", "seeds_per_item"))
    return JobItems(tuple(items), origins, problems, complete, tuple(source.notices))


def _report_unread(source: JobSource, drafts: Sequence[ItemDraft]) -> None:
    """Report variables whose names differ from what the recipe reads in case only: they would have no effect."""
    known = {plain_name(name): name for name in source.reads}
    seen = set(source.reads)

    def new(names: Mapping[str, Scalar]) -> Iterator[tuple[str, str]]:
        for name in names:
            if name not in seen:
                seen.add(name)
                if plain_name(name) in known:
                    yield name, f"the recipe reads `{known[plain_name(name)]}`, not `{name}`: write it so"

    for name, message in new(source.job.vars):
        source.report(child("vars", name), message)
    for draft in drafts:
        source.problems += [draft.origin.variable_problem(name, message) for name, message in new(draft.entry.vars)]


def _drafts(source: JobSource) -> Iterator[ItemDraft]:
    job = source.job
    both: tuple[tuple[Kind, Grid | None], ...] = (("matrix", job.matrix), ("zip", job.zip))
    grids = [(kind, grid) for kind, grid in both if grid is not None]
    listed = len(job.items) if isinstance(job.items, tuple) else 0
    room = source.max_items // job.seeds_per_item - listed - sum(grid_size(grid, kind) for kind, grid in grids)
    if room < 0:
        total = (source.max_items // job.seeds_per_item - room) * job.seeds_per_item
        path = max(grids, key=lambda pair: grid_size(pair[1], pair[0]))[0] if grids else "items"
        limit = f"more than {source.max_items:,}: make it smaller, or raise PIXELMILL_MAX_ITEMS"
        source.report(path, f"the job has {total:,} items, {limit}")
        return
    if isinstance(job.items, str):
        # Whether a place is a folder is not looked up where the job may not read.
        uri = uris.resolve(job.items, source.folder)
        may_look = source.access.objection_to_reading(uri) is None
        if names_files(job.items, source.folder if may_look else ""):
            yield from _file_drafts(source, job.items, room)
        else:
            yield from _table_drafts(source, job.items, room)
    elif job.items:
        for position, entry in zip(source.read.kept, job.items, strict=True):
            where = f"items[{position}]"
            origin = Origin(where, source.document.file, source.document.line(where))
            yield ItemDraft(entry, origin, (source.folder,))
    for kind, grid in grids:
        yield from _grid_drafts(source, kind, grid)


def _within_memory(drafts: Iterator[ItemDraft], source: JobSource) -> Iterator[ItemDraft]:
    """Yield up to the draft with too much text in all: a few lines of templates, or of a table, can hold gigabytes."""
    characters = 0
    for draft in drafts:
        entry = draft.entry
        fields = (entry.name, entry.prompt, entry.negative_prompt, entry.image, entry.mask, *entry.vars.values())
        characters += sum(len(text) for text in fields if isinstance(text, str)) * source.job.seeds_per_item
        if characters > MAX_CHARACTERS:
            text = f"the items up to here have more than {MAX_CHARACTERS:,} characters of text"
            source.problems.append(draft.origin.problem("", f"{text}: shorten it, or split the job"))
            return
        yield draft


def _file_drafts(source: JobSource, text: str, room: int) -> Iterator[ItemDraft]:
    folder, glob = split_glob(text)
    base = uris.resolve(folder, source.folder)
    if (objection := source.access.objection_to_reading(base)) is not None:
        source.report("items", objection)
        return
    try:
        found = source.list_files(base, glob)
        images = read_image_set(found, glob, source.read_bytes, room, shown_as=text, variables=source.reads)
    except OSError as error:
        source.report("items", f"cannot be read: {error}")
        return
    source.notices += images.notices
    for problem in images.problems:
        if problem.file:
            source.problems.append(problem)
        else:
            source.report(problem.path, problem.message)
    line = source.document.line("items")
    for entry, row in images.images:
        origin = Origin("items", source.document.file, line) if row is None else Origin("", images.table, row)
        yield ItemDraft(entry, origin, (base,))


def _table_drafts(source: JobSource, text: str, room: int) -> Iterator[ItemDraft]:
    uri = uris.resolve(text, source.folder)
    if (objection := source.access.objection_to_reading(uri)) is not None:
        source.report("items", objection)
        return
    try:
        data = source.read_bytes(uri)
    except OSError as error:
        source.report("items", f"cannot be read: {error}")
        return
    name = uris.shown(uri)
    rows, problems, notices = read_table(data, name, room, source.reads)
    source.problems += problems
    source.notices += notices
    folders = tuple(dict.fromkeys((source.folder, uris.folder_of(uri))))
    for row in rows:
        yield ItemDraft(row.entry, Origin("", name, row.line), folders)


def _grid_drafts(source: JobSource, kind: Kind, grid: Grid) -> Iterator[ItemDraft]:
    problems = grid_problems(grid, kind, source.job.vars)
    if "vars" in source.read.bad:  # what a template may name is not known
        problems = [problem for problem in problems if "no variable of the job" not in problem.message]
    source.problems += source.document.locate(problems)
    if problems or "vars" in source.read.bad:
        return
    origin = Origin(kind, source.document.file, source.document.line(kind))
    for made in expand_grid(grid, kind, source.job.vars):
        if isinstance(made, list):
            source.problems += source.document.locate(made)
        else:
            yield ItemDraft(made, origin, (source.folder,))
