"""What the images are on a machine without a container engine: programs, variables, and what entry points do."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.compose_file import DOCKER, ROOT, Service, tool
from tests.support.servers.postgres import binaries

POSTGRES, REDIS, S3, FLOWS, WORKER = "postgres", "redis", "versity/versitygw", "pixelmill-flows", "pixelmill-worker"
APT = {POSTGRES: "postgresql", REDIS: "redis-server"}


def kind_of(image: str) -> str:
    """The image's name without registry and tag."""
    return image.partition("@")[0].rpartition(":")[0] or image


def obstacles() -> list[str]:
    """What has to be installed before a fleet can run here."""
    missing = []
    if binaries() is None:
        missing.append(f"PostgreSQL's server is not installed: apt-get install {APT[POSTGRES]}")
    if shutil.which("redis-server") is None:
        missing.append(f"Redis is not installed: apt-get install {APT[REDIS]}")
    for name in ("rclone", "docker-compose"):
        try:
            tool(name)
        except FileNotFoundError as error:
            missing.append(str(error))
    if uv() is None:
        missing.append("uv is not installed: `make install` fetches it")
    return missing


def uv() -> str | None:
    """The uv that the Makefile uses."""
    return os.environ.get("UV") or shutil.which("uv") or next(map(str, ROOT.glob(".uv/bin/uv")), None)


def image_environment(dockerfile: Path) -> dict[str, str]:
    """The variables that a Dockerfile's last stage sets, PATH left out."""
    stage = dockerfile.read_text().rpartition("\nFROM ")[2].replace("\\\n", " ")
    lines = re.findall(r"^ENV (.*)$", stage, re.MULTILINE)
    pairs = [pair.partition("=") for line in lines for pair in line.split()]
    return {name: value for name, _, value in pairs if name != "PATH"}


def make_flows_environment(folder: Path) -> Path:
    """A virtual environment with what the flows image has: its lock, and our wheel. Returns its folder.

    Of an interpreter that other users can run as well, if there is one.
    """
    program = str(uv())
    plain = Path(f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}")
    python = str(plain) if plain.exists() else sys.executable
    place = folder / "flows-environment"
    lock = DOCKER / "requirements-flows.lock"
    _run(program, "venv", "--quiet", "--no-python-downloads", "--python", python, str(place))
    inside = ["--python", str(place / "bin" / "python")]
    _run(program, "pip", "install", "--quiet", "--compile-bytecode", *inside, "--require-hashes", "-r", str(lock))
    _run(program, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir",
         str(folder), str(ROOT))  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    _run(program, "pip", "install", "--quiet", "--compile-bytecode", *inside, "--no-deps", str(wheel))
    return place


def worker_environment() -> Path:
    """That of the tests: the worker's lock is a part of its own, and torch is large."""
    return Path(sys.prefix)


def s3_command(service: Service) -> list[str]:
    """Rclone in the place of the gateway: same protocol, port, credentials and folder."""
    keys = f"{service.environment['ROOT_ACCESS_KEY']},{service.environment['ROOT_SECRET_KEY']}"
    address = f"0.0.0.0{service.environment['VGW_PORT']}"
    folder = service.environment["VGW_BACKEND_ARG"]
    return [tool("rclone"), "serve", "s3", "--auth-key", keys, "--addr", address, "--config", os.devnull,
            "--vfs-cache-mode", "off", folder]  # fmt: skip


def prepare_postgres(data: Path, script: Path, environment: Mapping[str, str]) -> None:
    """What the image's entry point does with an empty volume: a cluster, and the script run against it."""
    folder = binaries()
    assert folder is not None
    user = environment["POSTGRES_USER"]
    if os.geteuid() == 0:
        shutil.chown(data, "postgres")
    secret = data.with_name("superuser-password")
    secret.write_text(environment["POSTGRES_PASSWORD"])
    if os.geteuid() == 0:
        shutil.chown(secret, "postgres")
    _as_postgres(folder / "initdb", "-D", data, "-U", user, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8",
                 "--locale=C.UTF-8")  # fmt: skip
    secret.unlink()
    quiet = f"-c listen_addresses= -c unix_socket_directories={data}"
    _as_postgres(folder / "pg_ctl", "-D", data, "-w", "-l", data / "first-start.log", "-o", quiet, "start")
    try:
        own = {"PGHOST": str(data), "PGPASSWORD": environment["POSTGRES_PASSWORD"], "PATH": os.environ["PATH"]}
        subprocess.run(["sh", str(script)], env={**environment, **own}, check=True, capture_output=True)
    finally:
        _as_postgres(folder / "pg_ctl", "-D", data, "-m", "fast", "-w", "stop")


def postgres_command(command: Sequence[str], data: Path) -> list[str]:
    """The image's command, with what its own defaults are: all addresses, and sockets in a folder that is there."""
    folder = binaries()
    assert folder is not None
    program = [str(folder / command[0]), "-D", str(data)]
    own = ["-c", "listen_addresses=0.0.0.0", "-c", f"unix_socket_directories={data}"]
    return [*program, *own, *command[1:]]


def _as_postgres(*command: object) -> None:
    prefix = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    _run(*prefix, *map(str, command))


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, cwd="/", capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} … failed: {(done.stderr or done.stdout).strip()[-2000:]}")
