"""The environment that Pixelmill's processes share, wherever they are started and whatever lies in that folder."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from configs.settings.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")

# Variables of others that name a file or a folder. Flow runs have working folders of their own.
_PATHS = (
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "CURL_CA_BUNDLE",
    "HF_HOME",
    "PREFECT_HOME",
    "PREFECT_PROFILES_PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module in a process of its own.

    `-P`: Python would look for modules in the working folder first, and find a `storage.py` there instead of ours.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def settle_environment() -> None:
    """Change this process's environment so that processes which it starts, in any folder, understand the same.

    Paths become absolute, no proxy is asked for what listens on this machine, and modules in the working folder are
    not looked for (see `module_command`).
    """
    for name in _PATHS:
        if value := os.environ.get(name):
            os.environ[name] = str(Path(value).expanduser().absolute())
    os.environ["PYTHONSAFEPATH"] = "1"
    # The lower case counts first where both are set, and some libraries read one of the two only.
    given = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in given.split(",") if host.strip()]
    if "*" not in hosts:
        direct = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
        os.environ.update({"no_proxy": direct, "NO_PROXY": direct})


def settle_settings(settings: "Settings") -> None:
    """Likewise for the settings that the environment holds, as this process has read them."""
    read = settings.as_environment()
    os.environ.update({name: value for name, value in read.items() if name in os.environ})
