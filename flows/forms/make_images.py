"""The flows behind the forms: `flows.forms.make_images.game_icon` is that of the deployment `game-icon`, and so on.

Each deployment of a recipe has a flow of its own, as Prefect takes a form off the signature of its flow. They differ in
nothing else.
"""

import hashlib
import io
from contextlib import chdir
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any

from prefect import Flow, State
from prefect.runtime import flow_run
from prefect.states import Completed
from pydantic import BaseModel

from configs.documents.uris import shown
from configs.job.deployment import Deployment, deployments
from configs.settings.settings import Settings, load_settings
from flows.burst.artifacts import publish_plan
from flows.burst.burst import run_burst, with_burst
from flows.burst.form_flow import form_flow
from flows.forms.image_form import ImageForm, Stamp, form_request, image_form
from flows.job.plan import job_identity, make_plan, start_job
from flows.job.request import JobRequest
from flows.report.report import Summary
from storage.inputs.sources import read_uri
from storage.ledger.job_lease import job_lease
from storage.ledger.ledger import Ledger
from storage.ledger.records import ItemState
from storage.objects.keys import job_key
from storage.objects.open_store import open_store

JOB_FILE = "job.yaml"  # in the job's folder: what the form's answers come to, for `pixelmill run` and `verify`


def __getattr__(name: str) -> Flow[..., State[Any]]:
    if name.startswith("_"):
        raise AttributeError(name)
    return _flow(name)


@cache
def _flow(identifier: str) -> Flow[..., State[Any]]:
    settings = load_settings()
    for deployment in deployments(settings):
        if deployment.recipe is not None and deployment.identifier == identifier:
            return _flow_of(deployment, image_form(deployment, settings))
    raise AttributeError(f"no deployment of a recipe is called {identifier}")


def _flow_of(deployment: Deployment, form: ImageForm) -> Flow[..., State[Any]]:
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
    with chdir(settings.working_folder or Path.cwd()):
        request, document = form_request(
            form,
            answers,
            _stamp(form.deployment.name),
            settings,
            folder=str(Path.cwd()),
            read_bytes=partial(read_uri, settings=settings),
        )
    if answers["dry_run"]:
        plan = make_plan(request, ledger, settings)
        publish_plan(plan, settings)
        items = len(request.items)
        return Completed(message=f"Dry run: {items:,} images, {items - plan.done:,} of them to be made. Nothing was.")
    with job_lease(job_identity(request, settings), ledger) as held:
        _keep_job_file(request, document, settings)
        job = start_job(request, ledger, settings)
        del request  # the ledger has the items
        ledger.reset_items(job.id, states=[ItemState.FAILED])
        return run_burst(job, ledger, settings, held)


def _stamp(name: str) -> Stamp:
    """From the flow run, so that its retry goes on with its own job."""
    identifier = str(flow_run.id)
    planned: datetime | None = flow_run.scheduled_start_time
    when = f"{planned:%Y-%m-%d-%H%M}-" if planned else ""
    seed = int.from_bytes(hashlib.sha256(identifier.encode()).digest()[:6], "big")
    return Stamp(name=f"{name}-{when}{identifier.rpartition('-')[2][:4]}", seed=seed)


def _keep_job_file(request: JobRequest, document: dict[str, Any], settings: Settings) -> None:
    """Without signatures in addresses: who may see the images may not see more than they show."""
    from ruamel.yaml import YAML

    text = io.BytesIO()
    writer = YAML(typ="safe")
    writer.default_flow_style = False
    writer.allow_unicode = True
    writer.dump({**document, "items": _shown(document["items"]), "output": request.output}, text)
    store = open_store(request.output, settings)
    store.replace(job_key(request.job.name, JOB_FILE), text.getvalue(), content_type="application/yaml")


def _shown(items: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(items, str):
        return shown(items)
    return [{**item, **{field: shown(item[field]) for field in ("image", "mask") if field in item}} for item in items]
