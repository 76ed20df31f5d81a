"""Real S3 servers for tests: `rclone serve s3` and moto's, each a process of its own on a free port."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from configs.settings.settings import Settings
from tests.support.ports import free_port

# Both servers take the same pair, so that one process can speak to both.
ACCESS_KEY = "pixelmilltestaccess"
SECRET_KEY = "pixelmill-test-secret-0123456789"
BUCKET = "pixelmill-test"


@dataclass(frozen=True)
class S3Server:
    """A running server with an empty bucket. `process` may be killed by a test."""

    name: str
    endpoint_url: str
    access_key: str
    secret_key: str
    bucket: str
    process: subprocess.Popen[bytes]

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which Pixelmill reaches the server."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def settings(self, **changes: object) -> Settings:
        """Settings that point to the server; the credentials are not among them."""
        return Settings().model_copy(update={"s3_endpoint_url": self.endpoint_url, "s3_attempts": 3, **changes})


@contextmanager
def rclone_s3(port: int | None = None) -> Iterator[S3Server]:
    """Rclone over a temporary folder: no conditional writes, metadata in memory only."""
    with tempfile.TemporaryDirectory(prefix="pixelmill-rclone-") as folder:
        Path(folder, BUCKET).mkdir()
        port = port or free_port()
        command = [
            *(_tool("rclone"), "serve", "s3", "--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"),
            *("--addr", f"127.0.0.1:{port}", "--config", os.devnull, "--vfs-cache-mode", "off", folder),
        ]
        with _running(command, port) as process:
            yield S3Server("rclone", f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY, BUCKET, process)


@contextmanager
def moto_s3() -> Iterator[S3Server]:
    """Moto's server: conditional writes, metadata and multipart as AWS has them; accepts any credentials."""
    port = free_port()
    with _running([sys.executable, "-m", "moto.server", "-p", str(port)], port) as process:
        server = S3Server("moto", f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY, BUCKET, process)
        _make_bucket(server)
        yield server


def _make_bucket(server: S3Server) -> None:
    import boto3

    client = boto3.session.Session(server.access_key, server.secret_key, region_name="us-east-1").client(
        "s3", endpoint_url=server.endpoint_url
    )
    client.create_bucket(Bucket=server.bucket)


def _tool(name: str) -> str:
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed: install the development dependencies")
    return found


@contextmanager
def _running(command: list[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for_port(process, port, log)
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
            process.wait()


def _wait_for_port(process: subprocess.Popen[bytes], port: int, log: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                log.seek(0)  # type: ignore[attr-defined]
                raise RuntimeError(f"The server did not start: {log.read().decode()[-2000:]}") from None  # type: ignore[attr-defined]
            time.sleep(0.05)
