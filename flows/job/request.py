"""Check of a job file, its items, its recipe and their models: a complete request, or every mistake."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from configs.catalogues import catalogue
from configs.catalogues.gates import find_gate, write_out_gates
from configs.catalogues.models import ModelCatalogue, UnknownModel
from configs.conditions import Condition
from configs.documents import uris
from configs.documents.fields import Item
from configs.documents.problems import InvalidInput, Problem, did_you_mean, salvage
from configs.documents.yaml_source import Document, parse_yaml
from configs.job.items import JobItems, JobSource, Origin, ReadBytes, job_items
from configs.job.job import Job, read_job
from configs.recipe.recipe import Recipe
from configs.recipe.source import (
    Overrides,
    find_recipe,
    is_recipe_path,
    misnamed,
    override_distinct,
    override_parameters,
    recipe_names,
    take_overrides,
)
from configs.settings.access import Access
from configs.settings.settings import Settings
from flows.job.item_checks import (
    boolean_problems,
    host_problems,
    item_problems,
    prompt_notices,
    unknown_variables,
    variables_read,
)
from steps.recipe import compile_recipe
from steps.recipe.program import Program, ResolvedStep
from steps.recipe.revision import describe_program
from storage.inputs.listing import list_files
from storage.inputs.sources import read_uri
from storage.objects.artefacts import StoreError


@dataclass(frozen=True, slots=True)
class CheckedRecipe:
    """A recipe that can run for the items of a job."""

    recipe: Recipe
    program: Program
    items: tuple[Item, ...]
    model_digests: dict[str, str]  # str(ModelRef) -> SHA-256
    revision: str  # SHA-256 over everything that decides the job's images


@dataclass(frozen=True, slots=True)
class JobRequest(CheckedRecipe):
    """A checked job that can run."""

    job: Job
    output: str  # an absolute path, or s3://bucket/prefix
    notices: tuple[str, ...] = ()  # what was left out or guessed, and what may not be meant


@dataclass(frozen=True, slots=True)
class _RecipeRead:
    document: Document
    recipe: Recipe | None
    program: Program | None  # None for a recipe with mistakes
    conditions: tuple[tuple[str, Condition], ...]  # with their paths in the document, also of a recipe with mistakes
    resolved: tuple[tuple[str, ResolvedStep], ...]  # the steps without mistakes, with their paths in the document
    problems: list[Problem]
    overridden: dict[str, str]  # path of a parameter in the recipe -> in the job that sets it


def read_request(job: str | Path, settings: Settings, *, read_bytes: ReadBytes | None = None) -> JobRequest:
    """Read and check a job file (a path or a URI) and all files that it names, without loading models.

    `read_bytes` returns the bytes at a path or a URI, by default as `read_uri`. Raises InvalidInput with every mistake.
    """
    uri, file = str(job), uris.shown(str(job))
    try:
        document = parse_yaml(_reader(read_bytes, settings)(uri), file)
    except OSError as error:
        raise InvalidInput([Problem("", f"cannot be read: {error}", file)]) from None
    return check_request(document, uris.folder_of(uri), settings, read_bytes=read_bytes)


def check_request(
    document: Document, folder: str, settings: Settings, *, read_bytes: ReadBytes | None = None
) -> JobRequest:
    """Check a job's document; its relative paths start at `folder`. See `read_request`."""
    catalogue.extend(settings.catalogue_path)
    read, access = _reader(read_bytes, settings), Access(settings)
    job_read = read_job(document)
    problems = list(document.locate(job_read.problems))
    recipe, trouble = None, list[Problem]()
    if job_read.value is not None and "recipe" not in job_read.bad:
        recipe, trouble = _read_recipe(job_read.value, folder, settings, read, access)
    source = JobSource(
        read=job_read,
        document=document,
        folder=folder,
        max_items=settings.max_items,
        read_bytes=read,
        list_files=partial(list_files, settings=settings),
        access=access,
        portable_names=settings.portable_names,
        defaults=recipe.recipe.vars if recipe and recipe.recipe else {},
        reads=_variables_read(recipe) if recipe else frozenset(),
    )
    items = job_items(source)
    problems += [*items.problems, *host_problems(items, settings)]
    output = uris.resolve(job_read.value.output if job_read.value else ".", str(Path.cwd())).rstrip("/") or "/"
    if (objection := access.objection_to_writing(output)) is not None:
        trouble.append(Problem("output", objection))
    elif Path(output).is_file():
        trouble.append(Problem("output", f"{output} is a file: name a folder"))
    if job_read.value and job_read.value.budget and not settings.price_per_hour:
        trouble.append(Problem("budget", "needs the price of a GPU: set PIXELMILL_PRICE_PER_HOUR"))
    problems += document.locate(trouble)
    digests: dict[str, str] = {}
    if recipe is not None:
        digests, wrong_models = _model_digests(recipe, ModelCatalogue(settings))
        theirs = [*recipe.problems, *wrong_models, *unknown_variables(recipe.conditions, items)]
        problems += _locate(theirs, recipe, document)
        problems += item_problems(recipe.program, recipe.document, items)
        defaults = recipe.recipe.vars if recipe.recipe is not None else {}
        job_vars = job_read.value.vars if job_read.value is not None else {}
        problems += document.locate(boolean_problems(recipe.conditions, items, job_vars, defaults))
    if problems or recipe is None or recipe.recipe is None or recipe.program is None or job_read.value is None:
        raise InvalidInput(dict.fromkeys(problems))
    revision = revision_of(recipe.recipe, recipe.program, items.items, digests)
    remarks = prompt_notices(recipe.resolved, items, expanded=job_read.value.dynamic_prompts)
    notices = (*items.notices, *remarks)
    return JobRequest(recipe.recipe, recipe.program, items.items, digests, revision, job_read.value, output, notices)


def read_recipe(name: str, settings: Settings) -> tuple[Recipe, Program]:
    """Return the recipe of this name with its program, without a check of its models. Raises InvalidInput."""
    catalogue.extend(settings.catalogue_path)
    path = find_recipe(name, settings)
    if path is None:
        raise InvalidInput([Problem("recipe", f"unknown recipe `{name}`{did_you_mean(name, recipe_names(settings))}")])
    document = parse_yaml(path.read_bytes(), str(path))
    read = _check_recipe(document, {}, settings)
    if read.problems or read.recipe is None or read.program is None:
        raise InvalidInput(document.locate(read.problems))
    return read.recipe, read.program


def open_recipe(name: str, folder: str, settings: Settings) -> Document:
    """Return the document of a recipe: by name, or by a path from `folder` or a URI. Raises InvalidInput."""
    document, problems = _open_recipe(name, folder, settings, _reader(None, settings), Access(settings))
    if document is None:
        raise InvalidInput(problems)
    return document


def check_other_recipe(
    document: Document,
    items: Sequence[Item],
    settings: Settings,
    *,
    overrides: Overrides,
    model_digests: Mapping[str, str],
    owner: str,
) -> CheckedRecipe:
    """Check a recipe for the items of `owner`, as for a new job. Raises InvalidInput with every mistake.

    `overrides` are set in the recipe. Models in `model_digests` need not be on this machine. Items get the recipe's
    defaults for variables that they lack.
    """
    catalogue.extend(settings.catalogue_path)
    read, problems = _check_overridden(document, overrides, settings)
    defaults = read.recipe.vars if read.recipe is not None else {}
    seen = [item.model_copy(update={"vars": {**defaults, **item.vars}}) for item in items]
    origins = tuple(Origin(f"items[{item.index}]", owner, None) for item in items)
    known = JobItems(tuple(seen), origins, [], complete=True)
    digests, wrong_models = _model_digests(read, ModelCatalogue(settings), model_digests)
    for problem in (*read.problems, *wrong_models, *unknown_variables(read.conditions, known)):
        place = _overridden_place(problem, read)
        problems += document.locate([problem]) if place is None else [Problem(read.overridden[place], problem.message)]
    problems += item_problems(read.program, read.document, known)
    if problems or read.recipe is None or read.program is None:
        raise InvalidInput(dict.fromkeys(problems))
    revision = revision_of(read.recipe, read.program, seen, digests)
    return CheckedRecipe(read.recipe, read.program, known.items, digests, revision)


def _reader(read_bytes: ReadBytes | None, settings: Settings) -> ReadBytes:
    """Return a function that reads a path or a URI and raises OSError."""

    def read(uri: str) -> bytes:
        try:
            return read_bytes(uri) if read_bytes is not None else read_uri(uri, settings)
        except StoreError as error:
            raise OSError(str(error)) from error

    return read


def _read_recipe(
    job: Job, folder: str, settings: Settings, read: ReadBytes, access: Access
) -> tuple[_RecipeRead | None, list[Problem]]:
    """Return the recipe with the job's `parameters`, or None, and the problems of these fields of the job."""
    document, problems = _open_recipe(job.recipe, folder, settings, read, access)
    return (None, problems) if document is None else _check_overridden(document, job, settings)


def _check_overridden(
    document: Document, overrides: Job | Overrides, settings: Settings
) -> tuple[_RecipeRead, list[Problem]]:
    """Set the overrides in the recipe and check it. Returns it, and the problems of the overrides."""
    overridden, unknown = override_parameters(document.data, overrides.parameters)
    overridden |= override_distinct(document.data, overrides.model_dump(mode="json", include={"distinct"}))
    return _check_recipe(document, overridden, settings), unknown


def _open_recipe(
    text: str, folder: str, settings: Settings, read: ReadBytes, access: Access
) -> tuple[Document | None, list[Problem]]:
    try:
        if is_recipe_path(text):
            uri = uris.resolve(text, folder)
            objection = access.objection_to_reading(uri) or misnamed(uris.shown(uri))
            if objection is not None:
                return None, [Problem("recipe", objection)]
            return parse_yaml(read(uri), uris.shown(uri)), []
        path = find_recipe(text, settings)
        if path is None:
            message = f"unknown recipe `{text}`{did_you_mean(text, recipe_names(settings))}"
            return None, [Problem("recipe", f"{message} (a path to a recipe ends in .yaml)")]
        return parse_yaml(path.read_bytes(), str(path)), []  # the operator's own: limits for jobs do not apply
    except OSError as error:
        return None, [Problem("recipe", f"cannot be read: {error}")]
    except InvalidInput as error:
        return None, list(error.problems)


def _locate(problems: Iterable[Problem], recipe: _RecipeRead, job: Document) -> Iterator[Problem]:
    """Yield the recipe's problems with file and line: those of the job for parameters that the job sets."""
    for problem in problems:
        place = _overridden_place(problem, recipe)
        if place is None:
            yield from recipe.document.locate([problem])
        else:
            yield from job.locate([Problem(recipe.overridden[place] + problem.path[len(place) :], problem.message)])


def _overridden_place(problem: Problem, recipe: _RecipeRead) -> str | None:
    """Return the path of the overridden parameter that has the problem, or None."""
    wrong = f"{problem.path}."
    return next((place for place in recipe.overridden if wrong.startswith((f"{place}.", f"{place}["))), None)


def _check_recipe(document: Document, overridden: dict[str, str], settings: Settings) -> _RecipeRead:
    _, problems = take_overrides(document)
    unknown_gates = write_out_gates(document.data, lambda name: find_gate(name, settings))
    read = salvage(Recipe, document.data, "steps", {"name": "recipe"})
    problems += [*document.problems, *unknown_gates, *read.problems]
    if read.value is None:
        return _RecipeRead(document, None, None, (), (), problems, overridden)
    listed = document.data["steps"]
    unread = [name for place, entry in enumerate(listed) if place not in read.kept for name in _ids_in(entry)]
    checked = compile_recipe(read.value, positions=read.kept, unread=unread)
    problems += checked.problems
    program = None if problems else checked.program
    return _RecipeRead(document, read.value, program, checked.conditions, checked.steps, problems, overridden)


def _ids_in(entry: Any) -> Iterator[str | None]:
    """Yield the ids within an entry that could not be read; None for a step without one."""
    if isinstance(entry, dict):
        if "step" in entry or not entry.keys() & {"steps", "cases", "require"}:
            yield entry.get("id") if isinstance(entry.get("id"), str) else None
        for value in entry.values():
            if isinstance(value, list | dict):
                yield from (name for name in _ids_in(value) if name is not None)
    elif isinstance(entry, list):
        for each in entry:
            yield from _ids_in(each)
    else:
        yield None


def _variables_read(recipe: _RecipeRead) -> frozenset[str]:
    """Return the variables that the recipe reads, and those that it has defaults for."""
    defaults = recipe.recipe.vars if recipe.recipe is not None else {}
    return frozenset({*defaults, *variables_read(recipe.conditions, recipe.resolved)})


def _model_digests(
    recipe: _RecipeRead, models: ModelCatalogue, known: Mapping[str, str] | None = None
) -> tuple[dict[str, str], list[Problem]]:
    digests: dict[str, str] = {}
    problems = []
    for path, resolved in recipe.resolved:
        field = f"{path}.model" if "model" in type(resolved.step).model_fields else path
        for ref in resolved.step.model_refs():
            if known is not None and str(ref) in known:
                digests[str(ref)] = known[str(ref)]
                continue
            reason = models.available(ref)
            try:
                if reason is None and str(ref) not in digests:
                    digests[str(ref)] = models.digest(ref)
            except (UnknownModel, OSError) as error:
                reason = f"its files cannot be read: {error}"
            if reason is not None:
                problems.append(Problem(field, reason))
    return digests, problems


def revision_of(recipe: Recipe, program: Program, items: Sequence[Item], digests: dict[str, str]) -> str:
    """Return a SHA-256 over everything that decides the images: not names and descriptions of recipes.

    Local input files count with size and time of change: a touched file starts the job from the beginning, and the
    artefacts' fingerprints then decide whether its content changed. Missing files do not count.
    """
    plan = {
        "program": describe_program(program),
        "keep": recipe.keep,
        "models": digests,
    }
    if recipe.distinction is not None:
        plan["distinct"] = recipe.distinction.model_dump(mode="json")
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True, separators=(",", ":")).encode())
    stamps: dict[str, str] = {}
    for item in items:
        digest.update(b"\n" + item.model_dump_json().encode())
        for uri in (item.image, item.mask):
            if uri is not None:
                digest.update(stamps.setdefault(uri, _stamp(uri)).encode())
    return digest.hexdigest()


def _stamp(uri: str) -> str:
    if uris.is_remote(uri):
        return ""
    try:
        status = Path(uri).stat()
    except FileNotFoundError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
