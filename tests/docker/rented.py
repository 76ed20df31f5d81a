"""A rented machine, as far as one can be had without renting: a network of its own, from which only SSH leads out.

A Linux network namespace sees neither the loopback nor any address of this machine but the gateway's, at which an
sshd waits. What the worker in it reaches, it reaches through the tunnel. Needs root, `ip` and `sshd`.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import ROOT
from tests.support.ports import free_port

RENTED = ROOT / "docker" / "rented"
GATEWAY, MACHINE = "10.213.7.1", "10.213.7.2"


def missing() -> str | None:
    """What this machine lacks for it."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "ssh", "ssh-keygen", "sshd"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            return f"{program} is not installed"
    try:
        _run("ip", "netns", "list")
        with _namespace("pixelmill-probe"):
            return None
    except subprocess.CalledProcessError as error:
        return f"no network namespaces: {error.stderr.decode().strip()}"


@dataclass
class RentedMachine:
    """Starts processes that have no way out but the tunnel."""

    namespace: str
    folder: Path
    gateway_port: int
    forwards: Mapping[int, int]  # its local port -> the port on the gateway's loopback
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *command: str, log: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("ab") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.namespace, *command],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def open_tunnel(self) -> "subprocess.Popen[bytes]":
        """The script that a rented machine runs; it opens the tunnel again whenever it breaks."""
        forwards = [f"{local}:127.0.0.1:{port}" for local, port in self.forwards.items()]
        environment = {
            "GATEWAY": f"root@{GATEWAY}",
            "GATEWAY_PORT": str(self.gateway_port),
            "KEY": str(self.folder / "key"),
            "KNOWN_HOSTS": str(self.folder / "known_hosts"),
        }
        return self.start(str(RENTED / "tunnel.sh"), *forwards, log="tunnel.log", environment=environment)

    def reaches(self, port: int, host: str = "127.0.0.1") -> bool:
        code = f"import socket; socket.create_connection(({host!r}, {port}), 3)"
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", code]
        return subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == 0

    def cut(self) -> None:
        """The line goes dead, as when a provider's network fails: nobody is told, packets vanish."""
        _run("ip", "link", "set", _link(self.namespace), "down")

    def mend(self) -> None:
        _run("ip", "link", "set", _link(self.namespace), "up")

    def end(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextmanager
def rented_machine(folder: Path, ports: tuple[int, ...]) -> Iterator[RentedMachine]:
    """A machine whose key opens these ports of the gateway's loopback, and nothing else of the gateway."""
    folder.mkdir()
    namespace = f"pixelmill-{secrets.token_hex(2)}"
    for name in ("key", "host_key"):
        _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    with _namespace(namespace), _sshd(folder, ports) as gateway_port:
        public = (folder / "host_key.pub").read_text()
        (folder / "known_hosts").write_text(f"[{GATEWAY}]:{gateway_port} {public}")
        machine = RentedMachine(namespace, folder, gateway_port, {20_000 + n: port for n, port in enumerate(ports)})
        try:
            yield machine
        finally:
            machine.end()


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    link = _link(name)
    _run("ip", "netns", "add", name)
    try:
        _run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        _run("ip", "address", "add", f"{GATEWAY}/30", "dev", link)
        _run("ip", "link", "set", link, "up")
        for command in (("address", "add", f"{MACHINE}/30", "dev", "eth0"), ("link", "set", "eth0", "up")):
            _run("ip", "-n", name, *command)
        _run("ip", "-n", name, "link", "set", "lo", "up")
        yield
    finally:
        _run("ip", "netns", "delete", name)  # and with it both ends of the link


def _link(namespace: str) -> str:
    return f"pm{namespace[-8:]}"


@contextmanager
def _sshd(folder: Path, ports: tuple[int, ...]) -> Iterator[int]:
    Path("/run/sshd").mkdir(exist_ok=True)
    port = free_port()
    opened = ",".join(f'permitopen="127.0.0.1:{each}"' for each in ports)
    key = (folder / "key.pub").read_text()
    (folder / "authorized_keys").write_text(f"restrict,port-forwarding,{opened} {key}")
    folder.chmod(0o700)
    config = folder / "sshd_config"
    config.write_text(
        f"""
        Port {port}
        ListenAddress {GATEWAY}
        HostKey {folder}/host_key
        AuthorizedKeysFile {folder}/authorized_keys
        PidFile {folder}/sshd.pid
        PermitRootLogin prohibit-password
        PasswordAuthentication no
        StrictModes no
        ClientAliveInterval 5
        ClientAliveCountMax 3
        """
    )
    log = folder / "sshd.log"
    server = subprocess.Popen([shutil.which("sshd") or "/usr/sbin/sshd", "-D", "-f", config, "-E", log])
    try:
        yield port
    finally:
        server.terminate()
        server.wait()


def _run(*command: object) -> None:
    subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def s3_policy(bucket: str, prefix: str) -> str:
    """The policy of docker/rented for this bucket and prefix."""
    text = (RENTED / "s3-policy.json").read_text()
    return json.dumps(json.loads(text.replace("BUCKET", bucket).replace("PREFIX", prefix)))
