"""Forms that ask for images, and their flows: `flows.forms.make_images.game_icon` for the deployment `game-icon`.

Each deployment of a recipe has a flow of its own, because Prefect reads a form off its flow's signature. The flows
differ in nothing else.
"""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir
from datetime import datetime
from functools import cache, partial
from itertools import chain, count
from pathlib import Path
from typing import Any, Literal, NamedTuple

from prefect import Flow, State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel, ConfigDict, Field, create_model

from configs.documents.fields import Item, slug
from configs.documents.problems import InvalidInput, Problem
from configs.documents.uris import S3, is_web, resolve, shown, stem_of
from configs.documents.yaml_source import Document
from configs.job.deployment import PROMPT, Deployment, deployments
from configs.job.file_sets import is_pattern
from configs.job.job import AtReview
from configs.settings.settings import Settings, load_settings
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow
from flows.burst.publish import publish_plan
from flows.job.plan import job_identity, known_job, make_plan, start_job
from flows.job.request import JobRequest, check_request, read_recipe
from flows.prefect_api.deployments import unknown_field
from flows.report.report import Summary
from storage.ledger.lease import job_run
from storage.ledger.ledger import Ledger
from storage.ledger.records import JobRecord
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

JOB_FILE = "job.yaml"  # in the job's folder: the job of the form's answers, for `pixelmill run` and `verify`
FORM_FILE = "the form"  # instead of a file's name
NEW_SEED = -1
MAX_SEEDS = 1000  # a larger number in a form is most likely a typing error


class ImageForm(NamedTuple):
    """Form for the recipe of a deployment: `model` has one field per question."""

    deployment: Deployment
    model: type[BaseModel]
    variables: tuple[str, ...]


class Stamp(NamedTuple):
    """Name and seed that distinguish runs of the same form; a retried flow run has the same."""

    name: str
    seed: int


def image_form(deployment: Deployment, settings: Settings) -> ImageForm:
    """Return the form of a recipe's deployment. Raises InvalidInput if the recipe cannot be used."""
    assert deployment.recipe is not None
    recipe, program = read_recipe(deployment.recipe, settings)
    steps = [visit.step for visit in program.visits]
    anyone = Item(index=0, name="anyone", seed=0)
    reads_images = any("image" in step.item_files(anyone) for step in steps)
    draws = any(step.makes_image and "image" not in step.item_files(anyone) for step in steps)
    labels = deployment.variables
    variables = tuple(name for name in recipe.vars if labels is None or name in labels)
    fields: dict[str, Any] = {}

    def ask(name: str, kind: Any, default: Any, title: str, description: str, **bounds: Any) -> None:
        fields[name] = (kind, Field(default=default, title=title, description=description, **bounds))

    ask("name", str, "", "Name", "Name of the job and its folder. Empty: the form's name and the time.")
    if draws:
        ask("prompts", str, "", "Prompts", "One image, or several with other seeds, for each line.")
    uri = "a path, an s3:// or an https:// URI"
    if reads_images:
        ask("images", str, "", "Input images", f"One per line: {uri}.")
        about = (
            "Instead: all images in a folder, by a pattern such as photos/**, or below s3://bucket/prefix/. Its place "
        )
        ask("image_folder", str, "", "Folder of images", about + "is on the machine that runs the form, not on yours.")
    ask("table", str, "", "Table", f"Instead: CSV, JSONL or Parquet, {uri}; one image per row.")
    if draws:
        about = "{red|blue} in a prompt is one of the two, chosen for each image by its seed."
        ask("dynamic_prompts", bool, False, "Choices in prompts", about)
    for name, choice in deployment.choices.items():
        options = tuple(choice.options)
        ask(name, Literal[options], options[0], choice.title, choice.description)
    for name in variables:
        label = labels[name] if labels else None
        title = label.title if label else name.replace("_", " ").capitalize()
        about = label.description if label else "A variable of the recipe."
        default = recipe.vars[name]
        ask(name, type(default) if default is not None else str, default, title, about)
    ask("seeds_per_item", int, 1, "Images of each", "Their number, with different seeds.", ge=1, le=MAX_SEEDS)
    about = f"The same seed makes the same images again. {NEW_SEED}: new images each time."
    ask("seed", int, 0, "Seed", about, ge=NEW_SEED)
    ask("output", str, "", "Output folder", f"Folder below {settings.output}. Empty: that folder itself.")
    about = "Largest cost of the run, which stops when it is spent. 0: no limit."
    ask("budget", float, 0, "Budget", about, ge=0)
    about = "If gates refuse images, wait until people have accepted or rejected them."
    ask("review", bool, False, "Wait for decisions", about)
    ask("dry_run", bool, False, "Dry run", "Only check, and show what would be made.")
    _check_defaults(deployment, fields)
    model: type[BaseModel] = create_model(
        f"{deployment.identifier}_form", __config__=ConfigDict(frozen=True, extra="forbid"), **fields
    )
    return ImageForm(deployment, model, variables)


def _check_defaults(deployment: Deployment, fields: Mapping[str, Any]) -> None:
    """Raise InvalidInput for parameters that the form lacks: Prefect would refuse them without naming their place."""
    file = f"deployment {deployment.name}"
    given = [*deployment.parameters, *(name for each in deployment.schedules for name in each.parameters)]
    wrong = [name for name in given if name not in fields]
    if wrong:
        raise InvalidInput([Problem(f"parameters.{name}", unknown_field(name, fields), file) for name in wrong])


def form_request(
    form: ImageForm, answers: Mapping[str, Any], stamp: Stamp, settings: Settings, *, folder: str
) -> tuple[JobRequest, dict[str, Any]]:
    """Return the checked request of a filled-in form, and the job as the document of a job file.

    Relative paths start at `folder`. Raises InvalidInput with every mistake, by the fields of the form.
    """
    draft = _Draft(form, answers)
    document = draft.document(stamp, settings)
    problems = draft.problems
    try:
        request = check_request(document, folder, settings)
    except InvalidInput as refusal:
        asked = [each for each in refusal.problems if not (draft.stands_in and each.path.startswith("items"))]
        problems = [*problems, *map(draft.in_words_of_the_form, asked)]
    if problems:
        raise InvalidInput(dict.fromkeys(problems))
    return request, document.data


class _Draft:
    """Job built from a form's answers, with the field of the form for each of its parts."""

    def __init__(self, form: ImageForm, answers: Mapping[str, Any]) -> None:
        self._form, self._answers = form, answers
        self.problems: list[Problem] = []
        self.stands_in = False  # whether its items are made up, so that the rest is checked as well
        self._fields: dict[str, str] = {}  # path in the job -> field of the form
        self._count = 0  # of items
        self._names: set[str] = set()

    def document(self, stamp: Stamp, settings: Settings) -> Document:
        answers, deployment = self._answers, self._form.deployment
        job: dict[str, Any] = {
            "name": answers["name"] or stamp.name,
            "recipe": deployment.recipe,
            "output": self._output(settings),
            "seed": stamp.seed if answers["seed"] == NEW_SEED else answers["seed"],
            "seeds_per_item": answers["seeds_per_item"],
        }
        if variables := {name: answers[name] for name in self._form.variables}:
            job["vars"] = variables
            self._fields |= {f"vars.{name}": name for name in variables}
        if parameters := self._parameters():
            job["parameters"] = parameters
        if answers.get("dynamic_prompts"):
            job["dynamic_prompts"] = True
        if answers["budget"]:
            job["budget"] = answers["budget"]
        if answers["review"]:
            job["review"] = AtReview.WAIT.value
        job["items"] = self._items()
        return Document(job, FORM_FILE, {})

    def _items(self) -> str | list[dict[str, Any]]:
        answers = self._answers
        items = [
            *self._lines("prompts", "prompt", self._styled, str),
            *self._lines("images", "image", str, stem_of),
        ]
        # A folder needs no slash here; a pattern stays as it is.
        folder = answers.get("image_folder", "").strip()
        folder = folder if not folder or is_pattern(folder) else f"{folder.rstrip('/')}/"
        sets = {"image_folder": folder, "table": answers["table"].strip()}
        given = [name for name, text in sets.items() if text]
        self._fields["items"] = given[0] if given else ""
        if len(given) > 1 or (items and given):
            others = "the fields above it" if items else given[0]
            self.problems.append(Problem(given[-1], f"give either this or {others}, not both"))
        elif is_web(folder):
            self.problems.append(
                Problem("image_folder", "web servers have no folders to list: give a table of addresses")
            )
            self.stands_in = True
        elif not items and not given:
            asked = " or ".join(name for name in ("prompts", "images", *sets) if name in answers)
            self.problems.append(Problem(asked, "nothing is requested: fill it in"))
            self.stands_in = True
        stand_in = [{"name": "nothing", "prompt": "nothing"}] if self.stands_in else []
        return items or stand_in or sets[given[0]]

    def in_words_of_the_form(self, problem: Problem) -> Problem:
        """Return the problem with the form's field as its path, if it belongs to one."""
        if problem.file != FORM_FILE:
            return problem
        for path, field in self._fields.items():
            if problem.path == path or problem.path.startswith((f"{path}.", f"{path}[")):
                return Problem(field, problem.message)
        return Problem(problem.path, problem.message)

    def _output(self, settings: Settings) -> str:
        wanted = self._answers["output"].strip().strip("/")
        parts = re.split(r"[/\\]", wanted)
        if wanted.startswith(S3) or ":" in wanted or any(part in (".", "..", "~") for part in parts):
            self.problems.append(Problem("output", f"must be the name of a folder below {settings.output}"))
            wanted = ""
        return f"{settings.output.rstrip('/')}/{wanted}" if wanted else settings.output

    def _lines(
        self, field: str, of_item: str, complete: Callable[[str], str], naming: Callable[[str], str]
    ) -> Iterator[dict[str, Any]]:
        for number, line in enumerate(self._answers.get(field, "").splitlines(), 1):
            if text := line.strip():
                self._fields[f"items[{self._count}]"] = f"{field}, line {number}"
                self._count += 1
                yield {"name": self._name(naming(text)), of_item: complete(text)}

    def _name(self, text: str) -> str:
        """Return a name from the user's text, without the style's words, with a number if it is taken."""
        stem = slug(text) or "image"
        names = chain([stem], (f"{stem}-{number}" for number in count(2)))
        name = next(name for name in names if name not in self._names)
        self._names.add(name)
        return name

    def _styled(self, prompt: str) -> str:
        for name, choice in self._form.deployment.choices.items():
            prompt = choice.options[self._answers[name]].prompt.replace(PROMPT, prompt)
        return prompt

    def _parameters(self) -> dict[str, dict[str, Any]]:
        merged: dict[str, dict[str, Any]] = {}
        for name, choice in self._form.deployment.choices.items():
            for step, values in choice.options[self._answers[name]].parameters.items():
                merged.setdefault(step, {}).update(values)
                self._fields |= {f"parameters.{step}.{parameter}": name for parameter in values}
        return merged


def __getattr__(name: str) -> Flow[..., State[Any]]:
    if name.startswith("_"):
        raise AttributeError(name)
    return _flow(name)


@cache
def _flow(identifier: str) -> Flow[..., State[Any]]:
    settings = load_settings()
    for deployment in deployments(settings):
        if deployment.recipe is not None and deployment.identifier == identifier:
            break
    else:
        raise AttributeError(f"no deployment of a recipe is called {identifier}")
    form = image_form(deployment, settings)

    @form_flow(
        form.model,
        name="images",
        run_name=lambda: f"{(flow_run.parameters or {}).get('name') or deployment.name}",
        description=deployment.description,
    )
    def make_images(answers: BaseModel) -> State[Any]:
        return with_burst(partial(_make_images, form, answers.model_dump()))

    return make_images


def _make_images(form: ImageForm, answers: dict[str, Any], ledger: Ledger, settings: Settings) -> Summary | State[Any]:
    folder = str(settings.working_folder or Path.cwd())
    with chdir(folder):
        stamp = _stamp(form.deployment.name)
        request, document = form_request(form, answers, stamp, settings, folder=folder)
    identifier = job_identity(request, settings)
    _refuse_other_form(request, known_job(ledger, identifier))
    if answers["dry_run"]:
        plan = make_plan(request, ledger, settings)
        publish_plan(plan, settings)
        items = len(request.items)
        return Completed(message=f"Dry run: {items:,} images, {items - plan.done:,} of them to be made. Nothing was.")
    with job_run(identifier, ledger) as held:
        notices = list(request.notices)
        job = start_job(request, ledger, settings, log=notices.append)
        keep_job_file(request, document, settings, folder=folder)
        del request  # the ledger has the items
        return run_burst(job, ledger, settings, held, notices)


def _refuse_other_form(request: JobRequest, former: JobRecord | None) -> None:
    """Raise InvalidInput if a job of this name has another recipe: its images would be replaced by others."""
    if former is not None and former.recipe.name != request.recipe.name:
        message = f"a job of this name has the recipe {former.recipe.name}: choose another name, or another folder"
        raise InvalidInput([Problem("name", message)])


def _stamp(name: str) -> Stamp:
    """Return the stamp of this flow run, so that a retry continues its own job."""
    identifier = str(flow_run.id)
    planned: datetime | None = flow_run.scheduled_start_time
    when = f"{planned:%Y-%m-%d-%H%M}-" if planned else ""
    seed = int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:6], "big")
    return Stamp(name=f"{name}-{when}{identifier.rpartition('-')[2][:4]}", seed=seed)


def keep_job_file(request: JobRequest, document: dict[str, Any], settings: Settings, *, folder: str) -> None:
    """Store the job file among its images, with paths that began at `folder` written out.

    Addresses lose their signatures: readers of the images must not get access to the inputs.
    """
    from ruamel.yaml import YAML

    def kept(text: str) -> str:
        return shown(resolve(text, folder))

    items: str | list[dict[str, Any]] = document["items"]
    if isinstance(items, str):
        items = kept(items)
    else:
        items = [
            {**item, **{field: kept(item[field]) for field in ("image", "mask") if field in item}} for item in items
        ]
    text = io.BytesIO()
    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.dump({**document, "items": items, "output": request.output}, text)
    store = open_store(request.output, settings)
    store.replace(job_key(request.job.name, JOB_FILE), text.getvalue(), content_type="application/yaml")
