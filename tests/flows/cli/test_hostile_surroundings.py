"""Commands from a folder whose files are called like modules, behind a proxy, with relative paths in the environment.

`pixelmill up`, with a server of its own, is tried there as well: tests/flows/forms/test_upkeep_in_prefect.py.
"""

from pathlib import Path

import pytest

from tests.support.command import Pixelmill
from tests.support.hostile_surroundings import hostile_surroundings
from tests.support.null.held_steps import null_steps_environment
from tests.support.ports import free_port
from tests.support.shells import answers
from tests.support.waiting import wait_until

RECIPE = "name: nulls\nsteps:\n- {id: base, step: null_generate}\n- {id: final, step: null_pass}\n"
JOB = "name: nulls\nrecipe: nulls\noutput: ./out\nitems: [{name: one}, {name: two}]\n"


@pytest.fixture
def shell(tmp_path: Path) -> Pixelmill:
    shell = Pixelmill(tmp_path, {**null_steps_environment(tmp_path), **hostile_surroundings(tmp_path)})
    shell.write("recipes/nulls.yaml", RECIPE)
    shell.write("job.yaml", JOB)
    return shell


@pytest.mark.parts
def test_a_plan_looks_for_no_module_in_the_working_folder(shell: Pixelmill) -> None:
    planned = shell("plan", "job.yaml", "--json")
    assert planned.status == 0, planned.err
    assert planned.document["steps"]["final"]["computed"] == 2


@pytest.mark.e2e
def test_deploy_worker_run_and_serve_work_there(shell: Pixelmill, prefect_server: str) -> None:
    shell = Pixelmill(shell.folder, {**shell.env, "PREFECT_API_URL": prefect_server, "PIXELMILL_WORK_POOL": "hostile"})
    deployed = shell("deploy", "--json")
    assert deployed.status == 0, deployed.err
    with shell.with_worker():
        ran = shell("run", "job.yaml", "--json")
    assert ran.status == 0, ran.err
    assert (shell.folder / "its-home" / "ledger.db").is_file()
    port = free_port()
    serving = shell.start("serve", "--port", str(port))
    try:
        wait_until(lambda: serving.poll() is not None or answers(f"http://127.0.0.1:{port}/healthz"))
        assert serving.poll() is None, serving.communicate()
    finally:
        serving.terminate()
        serving.communicate()
