"""A checked request: everything that a job file, its items, its recipe and their models must be, or every mistake."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from configs import catalogue, uris
from configs.conditions import ConditionError, Foresight
from configs.item import Item
from configs.items import Place, variables_of
from configs.job import Job, read_job
from configs.job_items import JobItems, ReadBytes, job_items
from configs.models import ModelCatalogue, UnknownModel
from configs.problems import InvalidInput, Problem, did_you_mean
from configs.recipe import Recipe
from configs.recipe_files import find_recipe, is_recipe_path, recipe_names
from configs.settings import Settings
from configs.validation import salvage
from configs.yaml_source import Document, parse_yaml
from steps.resolve import ResolvedStep, check_steps
from storage.artefacts import StoreError


@dataclass(frozen=True, slots=True)
class Request:
    """A job that can run: nothing in it is wrong, as far as can be known before work starts."""

    job: Job
    recipe: Recipe
    steps: tuple[ResolvedStep, ...]
    items: tuple[Item, ...]
    output: str  # an absolute path, or s3://bucket/prefix
    model_digests: dict[str, str]  # str(ModelRef) -> SHA-256
    revision: str  # SHA-256 over all that decides which images the job has


@dataclass(frozen=True, slots=True)
class _RecipeRead:
    document: Document
    recipe: Recipe | None
    positions: tuple[int, ...]  # of the recipe's steps in the document
    steps: tuple[ResolvedStep | None, ...]
    problems: list[Problem]

    @property
    def resolved(self) -> Iterator[tuple[str, ResolvedStep]]:
        """The steps without mistakes, with their paths in the document."""
        for position, step in zip(self.positions, self.steps, strict=True):
            if step is not None:
                yield f"steps[{position}]", step


def read_request(job: str | Path, settings: Settings, *, read_bytes: Callable[[str], bytes]) -> Request:
    """Reads and checks a job file (a path or an s3:// URI) and all that it names, without loading any model.

    `read_bytes` gives the bytes at a path or an s3:// URI. Raises InvalidInput with every mistake found.
    """
    catalogue.extend(settings.catalogue_path)
    file = str(job)
    read = _as_os_errors(read_bytes)
    try:
        document = parse_yaml(read(file), file)
    except OSError as error:
        raise InvalidInput([Problem("", f"cannot be read: {error}", file)]) from None
    job_read = read_job(document)
    folder = uris.folder_of(file)
    problems = list(document.locate(job_read.problems))
    recipe, trouble = None, list[Problem]()
    if job_read.value is not None and "recipe" not in job_read.bad:
        recipe, trouble = _read_recipe(job_read.value.recipe, folder, settings, read)
    defaults = recipe.recipe.vars if recipe and recipe.recipe else {}
    items = job_items(
        job_read, document, folder=folder, max_items=settings.max_items, read_bytes=read, defaults=defaults
    )
    problems += items.problems
    problems += document.locate(trouble)
    output = _output(job_read.value.output if job_read.value else ".")
    if Path(output).is_file():
        problems.append(Problem("output", f"{output} is a file: name a folder", file, document.line("output")))
    digests: dict[str, str] = {}
    if recipe is not None:
        digests, wrong_models = _model_digests(recipe, ModelCatalogue(settings))
        problems += recipe.document.locate([*recipe.problems, *wrong_models, *_unknown_variables(recipe, items)])
        problems += _item_problems(recipe, items)
    if problems or recipe is None or recipe.recipe is None or job_read.value is None:
        raise InvalidInput(dict.fromkeys(problems))
    steps = tuple(step for _, step in recipe.resolved)
    revision = _revision(recipe.recipe, steps, items.items, digests)
    return Request(job_read.value, recipe.recipe, steps, items.items, output, digests, revision)


def _as_os_errors(read_bytes: Callable[[str], bytes]) -> ReadBytes:
    def read(uri: str) -> bytes:
        try:
            return read_bytes(uri)
        except StoreError as error:
            raise OSError(str(error)) from error

    return read


def _output(text: str) -> str:
    return uris.resolve(text, str(Path.cwd())).rstrip("/") or "/"


def _read_recipe(
    text: str, folder: str, settings: Settings, read: ReadBytes
) -> tuple[_RecipeRead | None, list[Problem]]:
    """The recipe and its own problems, or none and what is wrong with the job's `recipe` field."""
    if is_recipe_path(text):
        uri = uris.resolve(text, folder)
    else:
        path = find_recipe(text, settings)
        if path is None:
            message = f"unknown recipe `{text}`{did_you_mean(text, recipe_names(settings))}"
            return None, [Problem("recipe", f"{message} A path to a recipe ends in .yaml")]
        uri = str(path)
    try:
        document = parse_yaml(read(uri), uri)
    except OSError as error:
        return None, [Problem("recipe", f"cannot be read: {error}")]
    except InvalidInput as error:
        return None, list(error.problems)
    return _check_recipe(document), []


def _check_recipe(document: Document) -> _RecipeRead:
    stand_ins = {"name": "recipe"}
    read = salvage(Recipe, document.data, "steps", stand_ins)
    problems = [*document.problems, *read.problems]
    if read.value is None:
        return _RecipeRead(document, None, (), (), problems)
    listed = document.data["steps"]
    unread = [
        entry.get("id") if isinstance(entry, dict) else None
        for position, entry in enumerate(listed)
        if position not in read.kept
    ]
    checked = check_steps(read.value, positions=read.kept, unread=unread)
    return _RecipeRead(document, read.value, read.kept, checked.steps, problems + checked.problems)


def _model_digests(recipe: _RecipeRead, models: ModelCatalogue) -> tuple[dict[str, str], list[Problem]]:
    digests: dict[str, str] = {}
    problems = []
    for path, resolved in recipe.resolved:
        field = f"{path}.model" if "model" in type(resolved.step).model_fields else path
        for ref in resolved.step.model_refs():
            reason = models.available(ref)
            try:
                if reason is None and str(ref) not in digests:
                    digests[str(ref)] = models.digest(ref)
            except (UnknownModel, OSError) as error:
                reason = f"its files cannot be read: {error}"
            if reason is not None:
                problems.append(Problem(field, reason))
    return digests, problems


def _unknown_variables(recipe: _RecipeRead, items: JobItems) -> Iterator[Problem]:
    """Variables in conditions that no item has: more likely misspelled than never true."""
    if not items.complete:
        return
    known = tuple(variables_of(items.items))
    for path, resolved in recipe.resolved:
        for name in sorted(resolved.when.names if resolved.when else ()):
            if name[0] == "vars" and name[1] not in known:
                hint = did_you_mean(name[1], known)
                yield Problem(
                    f"{path}.when", f"no item has the variable `{name[1]}`{hint}; give it in the job's `vars`"
                )


def _item_problems(recipe: _RecipeRead, items: JobItems) -> list[Problem]:
    """What each step finds wrong with the items that may visit it, and conditions that cannot be evaluated."""
    problems: dict[Problem, None] = {}
    imageless = {item.index for item in items.items}  # items that surely have no image yet
    idle = set(imageless)  # items that surely visit no step
    for path, resolved in recipe.resolved:
        foresight = Foresight(resolved.when) if resolved.when else None
        checked: Place | None = None
        for item, place in zip(items.items, items.places, strict=True):
            try:
                visits = True if foresight is None else foresight.of(item)
            except ConditionError as error:
                for problem in recipe.document.locate([Problem(f"{path}.when", str(error))]):
                    problems.setdefault(problem)
                visits = None
            if visits is False:
                continue
            idle.discard(item.index)
            if resolved.step.makes_image:
                imageless.discard(item.index)
            elif item.index in imageless and visits and not recipe.problems:
                message = f"the step `{resolved.id}` needs an image, but the item visits no step that makes one before"
                problems.setdefault(place.problem("", message))
            if checked is not place:
                checked = place
                for message in resolved.step.item_problems(item):
                    problems.setdefault(place.problem("", f"{message} (step `{resolved.id}`, item `{item.name}`)"))
    if not recipe.problems:
        for index in sorted(idle):
            message = f"the item `{items.items[index].name}` visits no step: every `when` of the recipe is false for it"
            problems.setdefault(items.places[index].problem("", message))
    return list(problems)


def _revision(recipe: Recipe, steps: Sequence[ResolvedStep], items: Sequence[Item], digests: dict[str, str]) -> str:
    """SHA-256 over what decides the images; names and descriptions of recipes do not.

    Of input files on this machine it takes size and time of change: a touched file plans the job anew, and the
    artefacts' fingerprints then tell whether its content is another.
    """
    plan = {
        "steps": [
            [each.id, each.name, each.step.version, each.step.model_dump(mode="json"), each.when and each.when.text]
            for each in steps
        ],
        "keep": recipe.keep,
        "models": digests,
    }
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True, separators=(",", ":")).encode())
    stamps: dict[str, str] = {}
    for item in items:
        digest.update(b"\n" + item.model_dump_json().encode())
        for uri in (item.image, item.mask):
            if uri is not None:
                digest.update(stamps.setdefault(uri, _stamp(uri)).encode())
    return digest.hexdigest()


def _stamp(uri: str) -> str:
    if uri.startswith(uris.S3):
        return ""
    status = Path(uri).stat()
    return f"{status.st_size} {status.st_mtime_ns}"
