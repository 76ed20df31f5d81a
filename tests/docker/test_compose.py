"""The compose files: accepted by Compose, closed to the outside, complete, and without secrets of their own."""

import re
import stat
from pathlib import Path
from typing import Any

import pytest

from configs.settings.settings import Settings, variable_of
from tests.docker.conftest import Resolve
from tests.support.compose_file import DOCKER, ComposeError, compose, resolve

pytestmark = pytest.mark.parts

OURS = ("pixelmill-flows", "pixelmill-worker")
SECRETS = (
    "POSTGRES_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
    "LEDGER_PASSWORD",
    "REDIS_PASSWORD",
    "PREFECT_PASSWORD",
    "S3_ACCESS_KEY",
    "S3_SECRET_KEY",
)


@pytest.fixture(scope="module")
def fleet(resolved: Resolve) -> dict[str, Any]:
    return resolved("compose.yaml")


@pytest.fixture(scope="module")
def services(fleet: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return fleet["services"]


def lasting(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if service["restart"] != "no"}


def test_the_fleet_has_its_parts(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {
        "postgres", "redis", "s3", "bucket", "prefect-server", "prefect-services", "deploy", "bursts", "gallery",
        "worker-0", "worker-1",
    }  # fmt: skip


def test_s3_and_the_second_gpu_are_left_out_without_their_profiles(resolved: Resolve) -> None:
    services = resolved("compose.yaml", profiles="")["services"]
    assert not {"s3", "bucket", "worker-1"} & set(services)
    elsewhere = resolved("compose.yaml", profiles="", S3_ENDPOINT="https://s3.example")["services"]["bursts"]
    assert elsewhere["environment"]["AWS_ENDPOINT_URL_S3"] == "https://s3.example"


def test_each_worker_has_a_gpu_of_its_own_and_the_cpu_file_takes_it_away(resolved: Resolve) -> None:
    def devices(services: dict[str, Any]) -> list[Any]:
        reserved = [services[name]["deploy"]["resources"].get("reservations", {}) for name in ("worker-0", "worker-1")]
        return [device["device_ids"] for each in reserved for device in each.get("devices") or ()]

    assert devices(resolved("compose.yaml")["services"]) == [["0"], ["1"]]
    cpu = resolved("compose.yaml", "compose.cpu.yaml")["services"]
    assert devices(cpu) == []
    assert cpu["worker-0"]["environment"]["PIXELMILL_DEVICE"] == "cpu"


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_starts_without_its_secrets(env_file: Path, tmp_path: Path, secret: str) -> None:
    lacking = tmp_path / "env"
    lacking.write_text(re.sub(rf"^{secret}=.*$", f"{secret}=", env_file.read_text(), flags=re.MULTILINE))
    with pytest.raises(ComposeError, match=secret):
        resolve([DOCKER / "compose.yaml"], environment={"COMPOSE_PROFILES": "s3"}, env_file=lacking)


def test_no_file_holds_or_makes_up_a_secret() -> None:
    for path in (*DOCKER.glob("*.yaml"), *DOCKER.glob("env/*.env")):
        text = path.read_text()
        assert not re.search(rf"\$\{{({'|'.join(SECRETS)}):?-", text), f"{path} has a default for a secret"
        plain = re.sub(r"\$\{.*?\}|admin:", "", text)
        assert not re.search(r"(PASSWORD|SECRET_KEY|AUTH_STRING)[:=] *[\"']?[A-Za-z0-9]", plain), path


def test_secrets_are_new_each_time_and_for_their_owner_only(env_file: Path) -> None:
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines() if re.match(r"[A-Z]", line))
    made = [values[secret] for secret in SECRETS]
    assert all(re.fullmatch(r"[0-9a-f]{40}", value) for value in made)
    assert len(set(made)) == len(SECRETS)
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600


def test_nothing_is_published_beyond_this_machine_unless_asked(resolved: Resolve) -> None:
    def addresses(document: dict[str, Any]) -> set[str]:
        return {port["host_ip"] for service in document["services"].values() for port in service.get("ports") or ()}

    assert addresses(resolved("compose.yaml")) == {"127.0.0.1"}
    opened = resolved("compose.yaml", "compose.publish.yaml", PUBLISH_ADDRESS="10.0.0.1")
    assert addresses(opened) == {"127.0.0.1", "10.0.0.1"}
    with pytest.raises(ComposeError, match="PUBLISH_ADDRESS"):
        resolved("compose.yaml", "compose.publish.yaml")


def test_what_lasts_is_restarted_looked_after_and_bounded(services: dict[str, dict[str, Any]]) -> None:
    for name, service in lasting(services).items():
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
        assert service["logging"]["options"]["max-size"], name
        assert int(service["deploy"]["resources"]["limits"]["memory"]) > 0, name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_our_own_containers_can_write_nowhere_but_their_volumes(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if service["image"].startswith(OURS):
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert service["init"] is True, name


def test_every_image_has_a_version(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert re.search(r":v?\d+\.\d+\.?\d*", service["image"]), service["image"]


def test_what_depends_on_a_service_waits_until_it_is_well(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for other, need in (service.get("depends_on") or {}).items():
            once = services[other]["restart"] == "no"
            wanted = "service_completed_successfully" if once else "service_healthy"
            assert need["condition"] == wanted, f"{name} -> {other}"


def test_workers_on_another_machine_reach_the_fleet(resolved: Resolve) -> None:
    services = resolved("compose.workers.yaml", FLEET_HOST="fleet.example")["services"]
    environment = services["worker-0"]["environment"]
    assert environment["PREFECT_API_URL"] == "http://fleet.example:4200/api"
    assert environment["PIXELMILL_LEDGER_URL"].endswith("@fleet.example:5432/pixelmill")
    assert environment["AWS_ENDPOINT_URL_S3"] == "http://fleet.example:7070"
    assert services["worker-0"]["image"].startswith("pixelmill-worker:")
    with pytest.raises(ComposeError, match="FLEET_HOST"):
        resolved("compose.workers.yaml")


def test_every_pixelmill_variable_is_a_setting(services: dict[str, dict[str, Any]]) -> None:
    known = {variable_of(field) for field in Settings.model_fields}
    used = {name for service in services.values() for name in service.get("environment") or ()}
    assert {name for name in used if name.startswith("PIXELMILL_")} <= known


def test_every_prefect_variable_is_a_setting(services: dict[str, dict[str, Any]]) -> None:
    used = {
        name: str(value)
        for service in services.values()
        for name, value in (service.get("environment") or {}).items()
        if name.startswith("PREFECT_")
    } | dict(_env_file_variables())
    del used["PREFECT_DATABASE_PASSWORD"]  # for PostgreSQL alone
    assert {name for name in used if name.lower() not in _prefect_names()} == set()


def test_compose_knows_the_published_schema(env_file: Path) -> None:
    """A misspelled key is refused: what the other tests resolve was checked."""
    override = env_file.with_name("wrong.yaml")
    override.write_text("services: {redis: {restrat: always}}\n")
    with pytest.raises(ComposeError, match="restrat"):
        compose("config", "--quiet", files=[DOCKER / "compose.yaml", override], env_file=env_file)


def _env_file_variables() -> list[tuple[str, str]]:
    lines = [line for path in DOCKER.glob("env/*.env") for line in path.read_text().splitlines()]
    return [(name, value) for name, _, value in (line.partition("=") for line in lines) if name.startswith("PREFECT_")]


def _prefect_names() -> set[str]:
    """Names of variables that Prefect and prefect-redis read, lower case."""
    from prefect.settings.models.root import Settings as PrefectSettings
    from prefect_redis.cleanup_queue import RedisWorkerCleanupQueueSettings
    from prefect_redis.client import RedisMessagingSettings
    from pydantic_settings import BaseSettings

    def names(model: type[BaseSettings]) -> set[str]:
        found = set()
        for name, field in model.model_fields.items():
            kind = field.annotation
            if isinstance(kind, type) and issubclass(kind, BaseSettings):
                found |= names(kind)
            found.add(f"{model.model_config.get('env_prefix', '')}{name}".lower())
            choices = getattr(field.validation_alias, "choices", None) or [field.validation_alias]
            found |= {choice.lower() for choice in choices if isinstance(choice, str)}
        return found

    return names(PrefectSettings) | names(RedisMessagingSettings) | names(RedisWorkerCleanupQueueSettings)
