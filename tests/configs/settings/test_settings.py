from pathlib import Path

import pytest

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings, load_settings, variable_of


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    import os

    for name in list(os.environ):
        if name.upper().startswith("PIXELMILL_") or name.startswith("AWS_ENDPOINT"):
            monkeypatch.delenv(name)


def refused() -> dict[str, str]:
    with pytest.raises(InvalidInput) as refusal:
        load_settings()
    return {problem.path: problem.message for problem in refusal.value.problems}


def test_nothing_needs_to_be_set():
    settings = load_settings()
    assert settings.home == Path.home() / ".pixelmill"
    assert settings.resolved_ledger_url == f"sqlite:///{settings.home.resolve()}/ledger.db"


def test_values_from_the_environment(monkeypatch):
    for name, value in {
        "PIXELMILL_HOME": "~/mill",
        "PIXELMILL_KEEP_WARM": "starter, sdxl-base,",
        "PIXELMILL_MODELS_PATH": "~/models:/srv/models",
        "PIXELMILL_CATALOGUE_PATH": "/etc/steps.yaml",
        "PIXELMILL_MICRO_BATCH": "4",
        "PIXELMILL_IDLE_TIMEOUT": "1.5",
        "PIXELMILL_DEVICE": "cpu",
        "PIXELMILL_RECIPES_PATH": "",
        "PIXELMILL_LEDGER_URL": "postgresql://me:hush-hush@db/mill",
        "AWS_ENDPOINT_URL": "http://localhost:9000",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.home == Path.home() / "mill"
    assert settings.keep_warm == ("starter", "sdxl-base")
    assert settings.models_path == (Path.home() / "models", Path("/srv/models"))
    assert settings.catalogue_path == (Path("/etc/steps.yaml"),)
    assert (settings.micro_batch, settings.idle_timeout, settings.device) == (4, 1.5, "cpu")
    assert settings.recipes_path == ()
    assert settings.s3_endpoint_url == "http://localhost:9000"
    assert settings.resolved_ledger_url == "postgresql://me:hush-hush@db/mill"
    assert "hush-hush" not in repr(settings)


NUMBERS = {
    name: next(each.ge for each in field.metadata if hasattr(each, "ge"))
    for name, field in Settings.model_fields.items()
    if field.annotation in (int, float)
}


@pytest.mark.parametrize("name", NUMBERS)
def test_every_number_has_bounds(name, monkeypatch):
    variable = variable_of(name)
    monkeypatch.setenv(variable, str(NUMBERS[name] - 1))
    assert "must be at least" in refused()[variable]
    monkeypatch.setenv(variable, "many")
    assert "must be a" in refused()[variable] and "'many'" in refused()[variable]
    monkeypatch.setenv(variable, "nan")
    assert variable in refused()


def test_all_mistakes_at_once(monkeypatch):
    monkeypatch.setenv("PIXELMILL_DEVICE", "gpu")
    monkeypatch.setenv("PIXELMILL_CHUNK_SIZE", "0")
    monkeypatch.setenv("PIXELMILL_CHUNKSIZE", "10")
    monkeypatch.setenv("PIXELMILL_IMAGE_TAG", "somebody else's")
    found = refused()
    assert set(found) == {"PIXELMILL_DEVICE", "PIXELMILL_CHUNK_SIZE", "PIXELMILL_CHUNKSIZE"}
    assert found["PIXELMILL_DEVICE"] == "must be 'auto', 'cuda', 'mps' or 'cpu', not 'gpu'"
    assert found["PIXELMILL_CHUNK_SIZE"] == "must be at least 1, not '0'"
    assert found["PIXELMILL_CHUNKSIZE"] == "unknown setting; did you mean `PIXELMILL_CHUNK_SIZE`?"


def test_warm_windows_are_checked_at_the_start(monkeypatch):
    monkeypatch.setenv("PIXELMILL_WARM_WINDOWS", "mon-fri 07:00-20:00 Europe/Berlin")
    assert load_settings().as_environment()["PIXELMILL_WARM_WINDOWS"] == "mon-fri 07:00-20:00 Europe/Berlin"
    monkeypatch.setenv("PIXELMILL_WARM_WINDOWS", "workdays")
    assert "`workdays` is not a window" in refused()["PIXELMILL_WARM_WINDOWS"]


def test_every_setting_has_a_description():
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} needs a description"
