"""Orchestration: plan a job, fan out shards, branch, report; and the command line."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flows.burst.run_job import resume_job, run_job
    from flows.explain.explain import Explainer
    from flows.job.plan import make_plan, read_plan_request
    from flows.report.report import Summary
    from flows.verify.verify import verify_job

_HOMES = {
    "Explainer": "flows.explain.explain",
    "Summary": "flows.report.report",
    "make_plan": "flows.job.plan",
    "read_plan_request": "flows.job.plan",
    "resume_job": "flows.burst.run_job",
    "run_job": "flows.burst.run_job",
    "verify_job": "flows.verify.verify",
}
__all__ = ["Explainer", "Summary", "make_plan", "read_plan_request", "resume_job", "run_job", "verify_job"]


def __getattr__(name: str) -> Any:
    """Import a public name from its module when it is first used: `import flows` stays light."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
