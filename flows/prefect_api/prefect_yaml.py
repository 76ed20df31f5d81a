"""prefect.yaml, for deploying with Prefect's own command: `python -m flows.prefect_api.prefect_yaml` rewrites it.

`prefect deploy --all` then makes the deployments that `pixelmill deploy` makes.
"""

import io
from pathlib import Path
from typing import Any

from configs.job.deployment import Deployment
from configs.settings.settings import Settings
from flows.prefect_api.deployments import all_deployments, entrypoint_of, pool_of
from gpu_worker.monitor.installed import installed_version

PAGE = Path(__file__).parents[2] / "prefect.yaml"
HEAD = """\
# Written by `python -m flows.prefect_api.prefect_yaml` from configs/data/deployments/: change them there.
# `pixelmill deploy` makes these deployments, and the work pools they need; `prefect deploy --all` does so too, once
# the work pools are there.
"""


def prefect_yaml(settings: Settings) -> str:
    """The file's text."""
    from ruamel.yaml import YAML

    document = {
        "name": "pixelmill",
        "pull": [],  # the code is installed where the workers run
        "deployments": [_entry(deployment, settings) for deployment in all_deployments(settings)],
    }
    text = io.StringIO()
    writer = YAML()
    writer.width = 110
    writer.dump(document, text)
    return HEAD + text.getvalue()


def _entry(deployment: Deployment, settings: Settings) -> dict[str, Any]:
    pool: dict[str, Any] = {"name": pool_of(deployment, settings)}
    if deployment.queue is not None:
        pool["work_queue_name"] = deployment.queue
    schedules = [
        {
            "cron": schedule.cron,
            "timezone": schedule.timezone,
            "active": schedule.active,
            **({"parameters": schedule.parameters} if schedule.parameters else {}),
        }
        for schedule in deployment.schedules
    ]
    return {
        "name": deployment.name,
        "entrypoint": entrypoint_of(deployment),
        "description": deployment.description,
        "version": installed_version(),  # else it would be a digest of a file, or the commit of whatever is checked out
        "tags": ["pixelmill", *deployment.tags],
        "work_pool": pool,
        "parameters": dict(deployment.parameters),
        "enforce_parameter_schema": True,
        "schedules": schedules,
    }


if __name__ == "__main__":
    PAGE.write_text(prefect_yaml(Settings()), encoding="utf-8")
