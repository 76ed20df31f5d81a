"""What this installation is, and can do: planning and bursts need none of the libraries that compute images."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

MISSING = (
    "This installation cannot compute images: install `pixelmill[worker]`, or let the workers of a fleet do it "
    "(PREFECT_API_URL)."
)


def installed_version() -> str:
    """Pixelmill's version; `unknown` where it runs from a folder that is not installed."""
    try:
        return version("pixelmill")
    except PackageNotFoundError:
        return "unknown"


def can_compute() -> bool:
    """Whether the libraries of the extra `worker` are installed. Imports none of them."""
    return find_spec("torch") is not None
