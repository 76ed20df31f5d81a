"""All items of a job, from every place that a job can have them in, with every mistake."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from configs.documents import uris
from configs.documents.item import Item, Scalar
from configs.documents.problems import Problem
from configs.documents.validation import Salvaged
from configs.documents.yaml_source import Document
from configs.job.grid import Kind, expand_grid, grid_problems, grid_size
from configs.job.items import ItemDraft, Place, make_items, name_drafts
from configs.job.job import Grid, ItemEntry, Job
from configs.job.tables import read_table
from configs.settings.access import Access

MAX_CHARACTERS = 1_000_000_000  # of all items' texts: what planning, ledger and manifest have to hold
ReadBytes = Callable[[str], bytes]  # of a path or a URI; raises OSError


@dataclass(frozen=True, slots=True)
class JobItems:
    """`places` tells where each item was written. `complete`: nothing was left out because of a mistake."""

    items: tuple[Item, ...]
    places: tuple[Place, ...]
    problems: list[Problem]
    complete: bool


@dataclass(slots=True)
class _Source:
    job: Job
    read: Salvaged[Job]
    document: Document
    folder: str  # of the job file
    max_items: int
    read_bytes: ReadBytes
    access: Access
    problems: list[Problem] = field(default_factory=list)

    def complain(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message, self.document.file, self.document.line(path)))


def job_items(
    read: Salvaged[Job],
    document: Document,
    *,
    folder: str,
    max_items: int,
    read_bytes: ReadBytes,
    access: Access,
    defaults: Mapping[str, Scalar],
) -> JobItems:
    """Expands the job: listed items, then the table's or the matrix's, then zip's; each with all its seeds.

    Relative paths start at `folder`, the job file's. A job of more than `max_items` is refused before it is expanded.
    `defaults` are the recipe's variables; the job's own win, and an item's win over both.
    """
    if read.value is None:
        return JobItems((), (), [], complete=False)
    source = _Source(read.value, read, document, folder, max_items, read_bytes, access)
    drafts = list(_within_memory(_drafts(source), source))
    names, collisions = name_drafts(drafts)
    job = read.value
    items, missing = make_items(
        drafts,
        names,
        seed=job.seed,
        seeds_per_item=job.seeds_per_item,
        job_vars={**defaults, **job.vars},
        access=access,
    )
    problems = list(dict.fromkeys([*source.problems, *collisions, *missing]))
    places = tuple(draft.place for draft in drafts for _ in range(job.seeds_per_item))
    complete = not source.problems and read.bad.isdisjoint(("items", "matrix", "zip", "vars", "seeds_per_item"))
    return JobItems(tuple(items), places, problems, complete)


def _drafts(source: _Source) -> Iterator[ItemDraft]:
    job = source.job
    both: tuple[tuple[Kind, Grid | None], ...] = (("matrix", job.matrix), ("zip", job.zip))
    grids = [(kind, grid) for kind, grid in both if grid is not None]
    listed = len(job.items) if isinstance(job.items, tuple) else 0
    room = source.max_items // job.seeds_per_item - listed - sum(grid_size(grid, kind) for kind, grid in grids)
    if room < 0:
        total = (source.max_items // job.seeds_per_item - room) * job.seeds_per_item
        path = max(grids, key=lambda pair: grid_size(pair[1], pair[0]))[0] if grids else "items"
        source.complain(path, f"the job has {total:,} items, more than {source.max_items:,}: {_LIMIT}")
        return
    if isinstance(job.items, str):
        yield from _table_drafts(source, job.items, room)
    elif job.items:
        yield from _listed_drafts(source)
    for kind, grid in grids:
        yield from _grid_drafts(source, kind, grid)


def _within_memory(drafts: Iterator[ItemDraft], source: _Source) -> Iterator[ItemDraft]:
    """Up to the draft that makes too much text: a few lines of templates, or of a table, can stand for gigabytes."""
    characters = 0
    for draft in drafts:
        characters += _characters(draft.entry) * source.job.seeds_per_item
        if characters > MAX_CHARACTERS:
            text = f"the items up to here have more than {MAX_CHARACTERS:,} characters of text"
            source.problems.append(draft.place.problem("", f"{text}: shorten it, or split the job"))
            return
        yield draft


def _characters(entry: ItemEntry) -> int:
    fields = (entry.name, entry.prompt, entry.negative_prompt, entry.image, entry.mask, *entry.vars.values())
    return sum(len(text) for text in fields if isinstance(text, str))


_LIMIT = "make it smaller, or raise PIXELMILL_MAX_ITEMS"


def _listed_drafts(source: _Source) -> Iterator[ItemDraft]:
    assert isinstance(source.job.items, tuple)
    for position, entry in zip(source.read.kept, source.job.items, strict=True):
        path = f"items[{position}]"
        place = Place(path, source.document.file, source.document.line(path))
        yield ItemDraft(entry, place, (source.folder,))


def _table_drafts(source: _Source, text: str, room: int) -> Iterator[ItemDraft]:
    uri = uris.resolve(text, source.folder)
    if (objection := source.access.objection_to_reading(uri)) is not None:
        source.complain("items", objection)
        return
    try:
        data = source.read_bytes(uri)
    except OSError as error:
        source.complain("items", f"cannot be read: {error}")
        return
    name = uris.shown(uri)
    rows, problems = read_table(data, name, room)
    source.problems += problems
    folders = tuple(dict.fromkeys((source.folder, uris.folder_of(uri))))
    for row in rows:
        yield ItemDraft(row.entry, Place("", name, row.line), folders)


def _grid_drafts(source: _Source, kind: Kind, grid: Grid) -> Iterator[ItemDraft]:
    problems = grid_problems(grid, kind, source.job.vars)
    if "vars" in source.read.bad:  # what a template may name is not known
        problems = [problem for problem in problems if "no variable of the job" not in problem.message]
    source.problems += source.document.locate(problems)
    if problems or "vars" in source.read.bad:
        return
    place = Place(kind, source.document.file, source.document.line(kind))
    for made in expand_grid(grid, kind, source.job.vars):
        if isinstance(made, list):
            source.problems += source.document.locate(made)
        else:
            yield ItemDraft(made, place, (source.folder,))
