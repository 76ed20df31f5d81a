"""Load flows by their entry points, whatever lies in the working folder."""

from contextlib import suppress
from importlib import import_module
from typing import Any

from prefect.flows import Flow, load_flow_from_entrypoint


def load_installed_flow(entrypoint: str) -> Flow[..., Any]:
    """Return the flow at a dotted path, from an installed package before one in the working folder.

    Prefect itself imports the module with the working folder first on `sys.path`, where a `steps` folder would replace
    ours; what is imported already it takes as it is.
    """
    with suppress(ImportError):  # Prefect's own try comes next, and reports the failure
        import_module(entrypoint.rpartition(".")[0])
    return load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
