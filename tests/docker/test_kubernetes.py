"""The manifests of docker/kubernetes, as kubectl's kustomize builds them: valid, closed, and in step with the code.

They have never been applied to a cluster by a test. What a cluster alone can tell, nobody here knows.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from ruamel.yaml import YAML
from typer.core import TyperGroup
from typer.main import get_command

from configs.job.deployment import deployments
from configs.settings.settings import PREFIX, Settings, variable_of
from flows.cli.main import app
from flows.serve.metrics import FLEET_TABLE
from gpu_worker.process.worker_process import HARD_END_SECONDS
from tests.docker.cluster import KUBERNETES, Cluster, Container, Workload, checkout, render

pytestmark = pytest.mark.parts

ROOT = KUBERNETES.parents[1]
PAGE = (ROOT / "docs" / "kubernetes.md").read_text(encoding="utf-8")
OVERLAYS = ("cpu", "example", "hpa", "keda")
KUBERNETES_VERSIONS = ("1.31", "1.37")  # the oldest and the newest that docs/kubernetes.md names
OURS = {"pixelmill-flows", "pixelmill-worker"}
PUBLIC = {"postgres:17.10-bookworm", "redis:8.4.0-bookworm", "versity/versitygw:v1.8.0"}
LONG_LIVED = ("Deployment", "StatefulSet")
PLURALS = {"ConfigMap": "configMap", "Secret": "secret", "PersistentVolumeClaim": "persistentVolumeClaim"}

# Who holds this password or key speaks to the server at the address of the other variable.
ADDRESS_OF = {"PREFECT_API_AUTH_STRING": "PREFECT_API_URL", "AWS_SECRET_ACCESS_KEY": "AWS_ENDPOINT_URL_S3"}
# These hold address and password in one.
URLS = (
    "PIXELMILL_LEDGER_URL",
    "PREFECT_SERVER_DATABASE_CONNECTION_URL",
    "PREFECT_REDIS_MESSAGING_URL",
    "PREFECT_REDIS_WORKER_CLEANUP_QUEUE_URL",
    "PREFECT_SERVER_DOCKET_URL",
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkout(tmp_path_factory.mktemp("checkout"))


@pytest.fixture(scope="module")
def clusters(copy: Path) -> dict[str, Cluster]:
    return {name: render(copy / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="module")
def validate() -> Iterator[Callable[..., str]]:
    """kubernetes-validate's, which would read the schemas of a whole version for each document."""
    from kubernetes_validate import utils

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utils, "schema_contents", cache(utils.schema_contents))
        yield utils.validate


@pytest.fixture(params=OVERLAYS)
def cluster(request: pytest.FixtureRequest, clusters: dict[str, Cluster]) -> Cluster:
    return clusters[request.param]


def containers(cluster: Cluster) -> list[tuple[Workload, Container]]:
    return [(workload, container) for workload in cluster.workloads for container in workload.containers]


# -- schemas -----------------------------------------------------------------------------------------------------------
def test_there_is_no_other_overlay():
    folders = {path.parent.name for path in (KUBERNETES / "overlays").glob("*/kustomization.yaml")}
    assert folders - {"mine"} == set(OVERLAYS)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_resource_fits_the_schema_of_kubernetes(cluster: Cluster, version: str, validate: Callable[..., str]):
    for document in cluster.documents:
        if not document["apiVersion"].startswith("keda.sh/"):
            validate(document, version, strict=True)


@pytest.mark.e2e  # the models take seconds to import
def test_every_resource_of_keda_fits_its_schema(clusters: dict[str, Cluster]):
    from cloudcoil.models.keda.v1alpha1 import ScaledObject, TriggerAuthentication

    models = {"ScaledObject": ScaledObject, "TriggerAuthentication": TriggerAuthentication}
    found = [each for each in clusters["keda"].documents if each["apiVersion"].startswith("keda.sh/")]
    assert {each["kind"] for each in found} == set(models)
    for document in found:
        read = models[document["kind"]].model_validate(document)
        # A field that the schema does not know is dropped without a word.
        assert read.model_dump(by_alias=True, exclude_unset=True, mode="json") == document


# -- references --------------------------------------------------------------------------------------------------------
def test_every_image_is_one_of_ours_or_a_pinned_public_one(cluster: Cluster):
    for _, container in containers(cluster):
        image = container.spec["image"]
        path, _, tag = image.rpartition(":")
        assert image in PUBLIC or (path.rpartition("/")[2] in OURS and re.fullmatch(r"\d+\.\d+\.\d+", tag)), image


def test_whatever_a_pod_names_is_there(cluster: Cluster):
    for workload in cluster.workloads:
        assert workload.pod["serviceAccountName"] in cluster.of_kind("ServiceAccount")
        claims = {each["metadata"]["name"] for each in workload.document["spec"].get("volumeClaimTemplates", ())}
        volumes = {volume["name"] for volume in workload.pod["volumes"]} | claims
        for container in workload.containers:
            assert {mount["name"] for mount in container.spec.get("volumeMounts", ())} <= volumes
        for volume in workload.pod["volumes"]:
            for kind, field in PLURALS.items():
                source = volume.get(field, {})
                name = source.get("name", source.get("claimName"))
                assert name is None or name in cluster.of_kind(kind) or source.get("optional"), volume


def test_every_mount_of_a_pod_is_used(cluster: Cluster):
    for workload in cluster.workloads:
        used = {mount["name"] for each in workload.containers for mount in each.spec.get("volumeMounts", ())}
        assert {volume["name"] for volume in workload.pod["volumes"]} <= used


def test_a_service_finds_its_pods_and_their_port(cluster: Cluster):
    for service in cluster.of_kind("Service").values():
        ports = cluster.behind(service).ports()
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_probes_and_ports_fit_the_commands(cluster: Cluster):
    for _, container in containers(cluster):
        words = container.words
        ports = {port["containerPort"] for port in container.spec.get("ports", ())}
        if "--port" in words:
            assert ports == {int(words[words.index("--port") + 1])}
        if "--with-healthcheck" in words:
            metrics = int(container.environment.get("PIXELMILL_METRICS_PORT", 0))
            assert ports == {8080, metrics} - {0}


# -- settings ----------------------------------------------------------------------------------------------------------
def test_every_variable_of_pixelmill_is_a_setting(cluster: Cluster):
    known = {variable_of(field) for field in Settings.model_fields}
    for workload, container in containers(cluster):
        named = {name for name in container.environment if name.startswith(PREFIX)}
        assert named <= known, workload.name


def test_every_variable_of_prefect_is_a_setting(cluster: Cluster):
    from prefect.settings.legacy import _get_settings_fields
    from prefect.settings.models.root import Settings as PrefectSettings

    known = set(_get_settings_fields(PrefectSettings))
    for _, container in containers(cluster):
        for name in container.environment:
            if name.startswith("PREFECT_") and not name.startswith(("PREFECT_REDIS_", "PREFECT_DATABASE_")):
                assert name == "PREFECT_PASSWORD" or name in known, name


def test_every_variable_of_a_rented_machine_is_a_setting():
    lines = (KUBERNETES.parent / "rented" / "worker.env.example").read_text().splitlines()
    named = {name for line in lines if (name := line.partition("=")[0]).startswith(PREFIX)}
    assert named and named <= {variable_of(field) for field in Settings.model_fields}


def test_the_settings_are_valid(cluster: Cluster, monkeypatch: pytest.MonkeyPatch):
    for _, container in containers(cluster):
        with monkeypatch.context() as patch:
            for name, value in container.environment.items():
                if name.startswith(PREFIX):
                    patch.setenv(name, value)
            Settings()


def test_a_container_sees_no_variables_of_services():
    """Kubernetes would set PREFECT_SERVER_PORT and the like, which look like settings."""
    for path in KUBERNETES.rglob("*.yaml"):
        text = path.read_text()
        assert text.count("serviceAccountName:") == text.count("enableServiceLinks: false"), path


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("base/env/prefect-server.env", "env/prefect-server.env"),
        ("base/env/bursts.env", "env/bursts.env"),
        ("base/10-databases.sh", "postgres/10-databases.sh"),
    ],
)
def test_what_the_compose_file_uses_too_is_the_same(here: str, there: str):
    """Kustomize reads no file outside its folder."""
    assert (KUBERNETES / here).read_text() == (KUBERNETES.parent / there).read_text()


def test_the_deployment_of_the_example_is_valid():
    found = deployments(Settings(deployments_path=(KUBERNETES / "overlays" / "example" / "deployments",)))
    assert "nightly-gems" in {each.name for each in found}


# -- commands ----------------------------------------------------------------------------------------------------------
def test_the_commands_of_pixelmill_are_there_with_their_options(cluster: Cluster):
    commands = [each.words for _, each in containers(cluster) if each.words[:1] == ["pixelmill"]]
    assert len(commands) == 4
    for words in commands:
        command, rest = get_command(app), words[1:]
        while isinstance(command, TyperGroup):
            command, rest = command.commands[rest[0]], rest[1:]
        command.make_context(words[0], rest)  # parses and runs nothing


@pytest.mark.e2e  # each asks Prefect's command line, which takes seconds to start
def test_the_commands_of_prefect_are_there_with_their_options(clusters: dict[str, Cluster]):
    commands = {tuple(each.words) for _, each in containers(clusters["cpu"]) if each.words[:1] == ["prefect"]}
    assert len(commands) == 3
    for words in commands:
        verbs = [word for word in words[1:4] if word.isalpha()]
        asked = subprocess.run(
            [sys.executable, "-m", "prefect", *verbs, "--help"], check=True, capture_output=True, text=True
        )
        for option in (word for word in words if word.startswith("--")):
            assert re.search(rf"{option}\b", asked.stdout), (words, option)


def test_other_commands_are_there(cluster: Cluster):
    health = (ROOT / "docker" / "health.py").read_text()
    for _, container in containers(cluster):
        words = container.words
        if words[:2] == ["python", "-m"]:
            assert find_spec(words[2])
        for kind in re.findall(r"\bhealth (\w+)", " ".join([*words, *_probe_words(container)])):
            assert f'"{kind}": {kind}' in health


def _probe_words(container: Container) -> list[str]:
    probes = [container.spec.get(f"{name}Probe", {}) for name in ("startup", "readiness", "liveness")]
    return [word for probe in probes for word in probe.get("exec", {}).get("command", ())]


# -- secrets -----------------------------------------------------------------------------------------------------------
SECRET_NAME = re.compile(r"PASSWORD|SECRET|_KEY|AUTH|TOKEN|CONNECTION_URL|LEDGER_URL|REDIS.*URL|DOCKET_URL")


def test_no_secret_is_written_down(cluster: Cluster):
    for workload, container in containers(cluster):
        for name in container.environment:
            if SECRET_NAME.search(name):
                assert name in container.secret, f"{workload.name}: {name}"
    for config in cluster.of_kind("ConfigMap").values():
        assert not [name for name in config["data"] if SECRET_NAME.search(name)]


def test_a_container_gets_no_secret_that_it_does_not_use(cluster: Cluster):
    from_secrets = {workload.name: workload.main.secret for workload in cluster.workloads}
    assert not [name for name in from_secrets["gallery"] if name.startswith("PREFECT")]
    assert from_secrets["deploy"] == {"PREFECT_PASSWORD", "PREFECT_API_AUTH_STRING"}
    assert not [name for name in from_secrets["reviver"] if name.startswith("AWS")]
    for name, secrets in from_secrets.items():
        assert ("POSTGRES_PASSWORD" in secrets) == (name == "postgres"), name
        assert name in ("postgres", "prefect-server", "prefect-services") or "PREFECT_DATABASE_PASSWORD" not in secrets


def test_git_ignores_the_secrets(tmp_path: Path):
    place = tmp_path / "repository"
    shutil.copytree(KUBERNETES, place, ignore=shutil.ignore_patterns("secrets.env"))
    subprocess.run(["git", "init", "-q", place], check=True)
    for name in ("base/secrets.env", "base/secrets.env.new", "overlays/mine/kustomization.yaml"):
        assert _is_ignored(place, name), name
    assert not _is_ignored(place, "base/secrets.env.example")


def _is_ignored(place: Path, name: str) -> bool:
    return subprocess.run(["git", "check-ignore", "-q", name], check=False, cwd=place).returncode == 0


def test_secrets_are_new_each_time_and_never_overwritten(copy: Path, tmp_path: Path):
    first, second = (
        dict(line.split("=") for line in (place / "base" / "secrets.env").read_text().splitlines() if "=" in line)
        for place in (copy, checkout(tmp_path))
    )
    assert first.keys() == second.keys() and not set(first.values()) & set(second.values())
    assert all(re.fullmatch(r"[0-9a-f]{40}", value) for value in first.values())
    assert (copy / "base" / "secrets.env").stat().st_mode & 0o077 == 0
    assert subprocess.run(["sh", copy / "new-secrets.sh"], check=False, capture_output=True).returncode == 1


# -- what a container may do -------------------------------------------------------------------------------------------
def test_no_container_has_more_rights_than_it_needs(cluster: Cluster):
    labels = cluster.of_kind("Namespace")["pixelmill"]["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for workload in cluster.workloads:
        pod = workload.pod
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume]
        for container in workload.containers:
            assert container.spec["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
    assert not any(account["automountServiceAccountToken"] for account in cluster.of_kind("ServiceAccount").values())
    assert not {document["kind"] for document in cluster.documents} & {"Role", "ClusterRole", "RoleBinding"}


def test_our_processes_can_write_where_they_have_to(cluster: Cluster):
    for workload, container in containers(cluster):
        if container.is_init or not any(name in container.spec["image"] for name in OURS):
            continue
        mounts = {mount["mountPath"]: mount for mount in container.spec["volumeMounts"]}
        assert not {"/tmp", "/var/lib/pixelmill"} - mounts.keys(), workload.name
        for folder, variable in {"/models": "MODELS", "/etc/pixelmill/recipes": "RECIPES"}.items():
            assert folder not in mounts or container.environment[f"PIXELMILL_{variable}_PATH"] == folder


def test_every_container_has_resources_and_whatever_lives_long_has_probes(cluster: Cluster):
    for workload, container in containers(cluster):
        resources = container.spec["resources"]
        assert {"cpu", "memory"} <= resources["requests"].keys() and "memory" in resources["limits"], workload.name
        if workload.document["kind"] in LONG_LIVED and not container.is_init:
            assert {"startupProbe", "livenessProbe"} <= container.spec.keys(), workload.name
            # Readiness is for those that a Service leads to.
            served = any(cluster.behind(each) is workload for each in cluster.of_kind("Service").values())
            assert ("readinessProbe" in container.spec) == served, workload.name


def test_a_worker_has_time_to_give_its_shard_back(cluster: Cluster):
    worker = cluster.workload("worker")
    assert worker.pod["terminationGracePeriodSeconds"] > HARD_END_SECONDS + 10
    assert worker.document["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0
    (budget,) = cluster.of_kind("PodDisruptionBudget").values()
    assert budget["spec"]["selector"]["matchLabels"].items() <= worker.labels.items()


def test_only_the_cpu_overlay_asks_for_no_gpu(clusters: dict[str, Cluster]):
    for name, cluster in clusters.items():
        worker = cluster.workload("worker").main
        assert (worker.spec["resources"]["limits"].get("nvidia.com/gpu") == 1) == (name != "cpu")
        assert (worker.environment.get("PIXELMILL_DEVICE") == "cpu") == (name == "cpu")


# -- who reaches whom --------------------------------------------------------------------------------------------------
def addresses(container: Container) -> set[tuple[str, int]]:
    """Host and port of all that the container connects to, S3 at AWS and the like included."""
    found = {container.environment[name] for name in URLS if name in container.environment}
    for credential, address in ADDRESS_OF.items():
        if credential in container.secret:
            found.add(container.environment.get(address, "https://s3.amazonaws.com"))
    if "PGHOST" in container.environment:
        found.add(f"postgresql://{container.environment['PGHOST']}:5432")
    found.update(re.findall(r"http://[^\s;]+", " ".join(container.words)))
    parts = [urlsplit(re.sub(r"//[^@/]*@", "//", url)) for url in found]
    return {(part.hostname or "", part.port or 443) for part in parts}


def needed(cluster: Cluster) -> set[tuple[str, str, int]]:
    """(from, to, port) within the cluster."""
    edges = set()
    for workload, container in containers(cluster):
        for host, port in addresses(container):
            service = cluster.service_of(host)
            if service is not None:
                assert port in {each["port"] for each in service["spec"]["ports"]}, (workload.name, host, port)
                edges.add((workload.name, cluster.behind(service).name, port))
    return edges


def test_every_address_is_a_service_or_lies_outside(cluster: Cluster):
    for workload, container in containers(cluster):
        for host, port in addresses(container):
            assert cluster.service_of(host) or ("." in host and port == 443), (workload.name, host)


def test_each_pod_reaches_what_it_needs_and_nothing_else_of_ours(cluster: Cluster):
    """Both ends say so, each by itself: one of them may be loosened by mistake."""
    pairs = [
        (source, target, port)
        for source in cluster.workloads
        for target in cluster.workloads
        for port in target.ports().values()
        if source is not target
    ]
    for allowed in (
        {(a.name, b.name, port) for a, b, port in pairs if cluster.lets_out(a, b, port)},
        {(a.name, b.name, port) for a, b, port in pairs if cluster.lets_in(b, a, port)},
    ):
        assert allowed == needed(cluster)


def test_who_has_keys_of_s3_elsewhere_gets_out_by_https(cluster: Cluster):
    for workload in cluster.workloads:
        outside = any(cluster.service_of(host) is None for each in workload.containers for host, _ in addresses(each))
        assert not outside or cluster.lets_out(workload, None, 443), workload.name
        assert not cluster.lets_out(workload, None, 80)


def test_nothing_is_open_to_the_outside(clusters: dict[str, Cluster]):
    open_to_others = {
        (name, workload.name)
        for name, cluster in clusters.items()
        for workload in cluster.workloads
        for port in workload.ports().values()
        if cluster.lets_in(workload, None, port)
    }
    # KEDA asks the database, Prometheus the gallery and workers; each by its own namespace alone.
    assert open_to_others == {("keda", "postgres"), ("hpa", "gallery"), ("hpa", "worker")}
    for cluster in clusters.values():
        assert not cluster.of_kind("Ingress")
        assert all(each["spec"].get("type", "ClusterIP") == "ClusterIP" for each in cluster.of_kind("Service").values())
        for policy in cluster.of_kind("NetworkPolicy").values():
            assert all(rule.get("from") for rule in policy["spec"].get("ingress", ())), policy["metadata"]["name"]
        ports = [port for _, each in containers(cluster) for port in each.spec.get("ports", ())]
        assert not [port for port in ports if "hostPort" in port]


# -- scaling -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("overlay", "kind"), [("keda", "ScaledObject"), ("hpa", "HorizontalPodAutoscaler")])
def test_a_scaler_has_the_number_of_workers_to_itself(clusters: dict[str, Cluster], overlay: str, kind: str):
    cluster = clusters[overlay]
    worker = cluster.workload("worker").document
    assert "replicas" not in worker["spec"]  # each `apply` would set it back
    (scaler,) = cluster.of_kind(kind).values()
    assert scaler["spec"]["scaleTargetRef"]["name"] == "worker"


def test_the_scaler_of_keda_finds_its_database_and_its_password(clusters: dict[str, Cluster]):
    cluster = clusters["keda"]
    (scaler,), (authentication,) = (
        cluster.of_kind(kind).values() for kind in ("ScaledObject", "TriggerAuthentication")
    )
    (trigger,) = scaler["spec"]["triggers"]
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]
    (reference,) = authentication["spec"]["secretTargetRef"]
    assert reference["parameter"] == "password"
    assert reference["key"] in cluster.of_kind("Secret")[reference["name"]]["data"]
    service, namespace, *_ = trigger["metadata"]["host"].split(".")
    assert namespace == "pixelmill" and int(trigger["metadata"]["port"]) == 5432
    assert cluster.behind(cluster.of_kind("Service")[service]).name == "postgres"
    # All that the scaler of KEDA wants to know if it is not given a whole connection string.
    assert {"host", "port", "dbName", "userName", "sslmode", "query", "targetQueryValue"} <= trigger["metadata"].keys()
    assert (
        f"CREATE ROLE {trigger['metadata']['userName']}"
        in cluster.of_kind("ConfigMap")[_sql(cluster)]["data"]["scaler-role.sql"]
    )


def _sql(cluster: Cluster) -> str:
    (name,) = (name for name in cluster.of_kind("ConfigMap") if name.startswith("scaler-role"))
    return name


def test_the_metric_of_the_hpa_is_the_one_of_the_page(clusters: dict[str, Cluster]):
    (scaler,) = clusters["hpa"].of_kind("HorizontalPodAutoscaler").values()
    (metric,) = scaler["spec"]["metrics"]
    (rule,) = (block for block in _blocks(PAGE) if "externalRules" in block.get("rules", {}))
    (external,) = rule["rules"]["externalRules"]
    assert metric["external"]["metric"]["name"] == external["name"]["as"]
    series, states = re.fullmatch(r'sum\((\w+)\{state=~"([a-z|]+)"\}\)', external["metricsQuery"]).groups()
    (shown,) = (row for row in FLEET_TABLE if row.name == series == external["seriesQuery"])
    assert shown.labels == ("state",) and all(state in shown.help for state in states.split("|"))


# -- the page ----------------------------------------------------------------------------------------------------------
def _blocks(page: str) -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    return [document for block in blocks for document in YAML(typ="safe").load_all(block) if document]


def test_the_resources_of_the_page_fit_the_schema(validate: Callable[..., str]):
    found = [block for block in _blocks(PAGE) if "apiVersion" in block and "kustomize" not in block["apiVersion"]]
    assert {each["kind"] for each in found} >= {"NetworkPolicy", "Ingress", "Pod"}
    for document in found:
        validate(document, KUBERNETES_VERSIONS[-1], strict=True)


def test_every_folder_of_the_page_is_there():
    for folder in re.findall(r"apply -k (\S+)", PAGE):
        assert (ROOT / folder / "kustomization.yaml").exists() or folder.endswith("/mine"), folder
