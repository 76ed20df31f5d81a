"""What `kubectl apply -k` would send, and what a cluster would make of it: environments, addresses, policies."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.support import ROOT

KUBERNETES = ROOT / "docker" / "kubernetes"
NAME = "app.kubernetes.io/name"
WORKLOADS = ("Deployment", "StatefulSet", "Job")
Document = dict[str, Any]


def kubectl() -> str:
    """The program, from the development dependencies or the path."""
    found = shutil.which("kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        raise FileNotFoundError("kubectl is not installed: install the development dependencies")
    return found


def checkout(place: Path) -> Path:
    """A copy of docker/kubernetes with fresh secrets, as somebody has it who follows docs/kubernetes.md."""
    copy = place / "kubernetes"
    shutil.copytree(KUBERNETES, copy, ignore=shutil.ignore_patterns("secrets.env", "mine"))
    subprocess.run(["sh", copy / "new-secrets.sh"], check=True, stdout=subprocess.DEVNULL)
    return copy


def render(folder: Path) -> "Cluster":
    """Builds a kustomization with kubectl's own kustomize."""
    built = subprocess.run([kubectl(), "kustomize", folder], check=False, capture_output=True, text=True)
    if built.returncode:
        raise ValueError(f"{folder}: {built.stderr}")
    return Cluster(list(YAML(typ="safe").load_all(built.stdout)))


@dataclass(frozen=True)
class Container:
    """`environment` is what its process would see, secrets included; `secret` names the entries that hold one."""

    spec: Document
    environment: Mapping[str, str]
    secret: frozenset[str]
    is_init: bool

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def words(self) -> list[str]:
        return [*self.spec.get("command", ()), *self.spec.get("args", ())]


@dataclass(frozen=True)
class Workload:
    """A Deployment, StatefulSet or Job."""

    document: Document
    containers: tuple[Container, ...]

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def pod(self) -> Document:
        spec: Document = self.document["spec"]["template"]["spec"]
        return spec

    @property
    def labels(self) -> Mapping[str, str]:
        labels: Mapping[str, str] = self.document["spec"]["template"]["metadata"]["labels"]
        return labels

    @property
    def main(self) -> Container:
        (container,) = (each for each in self.containers if not each.is_init)
        return container

    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for each in self.containers for port in each.spec.get("ports", ())}


class Cluster:
    """The resources of one overlay."""

    def __init__(self, documents: list[Document]) -> None:
        self.documents = documents

    def of_kind(self, kind: str) -> dict[str, Document]:
        return {each["metadata"]["name"]: each for each in self.documents if each["kind"] == kind}

    @cached_property
    def workloads(self) -> tuple[Workload, ...]:
        return tuple(
            Workload(each, tuple(self._containers(each["spec"]["template"]["spec"])))
            for each in self.documents
            if each["kind"] in WORKLOADS
        )

    def workload(self, name: str) -> Workload:
        (found,) = (each for each in self.workloads if each.name == name)
        return found

    # -- environments ------------------------------------------------------------------------------------------------
    def _containers(self, pod: Document) -> Iterator[Container]:
        for key in ("initContainers", "containers"):
            for spec in pod.get(key, ()):
                environment: dict[str, str] = {}
                for source in spec.get("envFrom", ()):
                    environment |= self.of_kind("ConfigMap")[source["configMapRef"]["name"]]["data"]
                own: dict[str, str] = {}
                secret: set[str] = set()
                for entry in spec.get("env", ()):
                    own[entry["name"]] = self._value(entry, own, secret)
                yield Container(spec, environment | own, frozenset(secret), key == "initContainers")

    def _value(self, entry: Document, earlier: Mapping[str, str], secret: set[str]) -> str:
        """As the kubelet makes it: `$(NAME)` stands for an earlier entry of its list, never for one of `envFrom`."""
        source = entry.get("valueFrom", {})
        if "secretKeyRef" in source:
            secret.add(entry["name"])
            return f"<{self._entry('Secret', source['secretKeyRef'])}>"
        if "configMapKeyRef" in source:
            return self._entry("ConfigMap", source["configMapKeyRef"])
        value = str(entry.get("value", ""))
        for name in re.findall(r"\$\((\w+)\)", value):
            if name not in earlier:
                raise ValueError(f"{entry['name']} names $({name}), which no earlier entry sets")
            if name in secret:
                secret.add(entry["name"])
            value = value.replace(f"$({name})", earlier[name])
        return value

    def _entry(self, kind: str, reference: Document) -> str:
        data = self.of_kind(kind)[reference["name"]]["data"]
        if reference["key"] not in data:
            raise ValueError(f"{kind} {reference['name']} has no {reference['key']}")
        # Of a secret its name is enough to know here.
        return str(reference["key"] if kind == "Secret" else data[reference["key"]])

    # -- who reaches whom --------------------------------------------------------------------------------------------
    def service_of(self, host: str) -> Document | None:
        return self.of_kind("Service").get(host)

    def behind(self, service: Document) -> Workload:
        """The workload whose pods a Service selects."""
        (found,) = (each for each in self.workloads if service["spec"]["selector"].items() <= each.labels.items())
        return found

    def lets_out(self, source: Workload, target: Workload | None, port: int) -> bool:
        """Whether the policies let `source` open a connection to the target's pods; None: to anywhere outside."""
        rules = self._rules(source, "Egress", "egress")
        return any(_peers_match(rule.get("to"), target) and _port_matches(rule, port, target) for rule in rules)

    def lets_in(self, target: Workload, source: Workload | None, port: int) -> bool:
        """Whether the policies let the source's pods connect to the target's; None: whoever is outside."""
        rules = self._rules(target, "Ingress", "ingress")
        return any(_peers_match(rule.get("from"), source) and _port_matches(rule, port, target) for rule in rules)

    def _rules(self, workload: Workload, direction: str, field: str) -> Iterator[Document]:
        policies = [
            policy["spec"]
            for policy in self.of_kind("NetworkPolicy").values()
            if _selects(policy["spec"]["podSelector"], workload.labels) and direction in policy["spec"]["policyTypes"]
        ]
        if not policies:
            raise ValueError(f"no policy speaks of the {direction} of {workload.name}: all of it is allowed")
        for policy in policies:
            yield from policy.get(field, ())


def _peers_match(peers: Iterable[Document] | None, workload: Workload | None) -> bool:
    if peers is None:
        return True
    for peer in peers:
        if workload is None and ("ipBlock" in peer or "namespaceSelector" in peer):
            return True
        near = "podSelector" in peer and "namespaceSelector" not in peer
        if workload is not None and near and _selects(peer["podSelector"], workload.labels):
            return True
    return False


def _selects(selector: Document, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    if not wanted.items() <= labels.items():
        return False
    for expression in selector.get("matchExpressions", ()):
        if expression["operator"] != "In":
            raise ValueError(f"{expression['operator']} is not read here")
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return True


def _port_matches(rule: Document, port: int, target: Workload | None) -> bool:
    if "ports" not in rule:
        return True
    named = {} if target is None else target.ports()
    return any(
        named.get(each["port"], each["port"]) == port and each.get("protocol", "TCP") == "TCP" for each in rule["ports"]
    )
