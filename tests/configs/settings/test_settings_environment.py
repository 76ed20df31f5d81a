"""Settings travel to another process through its environment."""

from pathlib import Path

from configs.settings.settings import Settings


def test_settings_survive_the_way_through_the_environment(monkeypatch, tmp_path):
    settings = Settings(
        home=tmp_path,
        ledger_url="postgresql://user:secret@host/db",
        micro_batch=3,
        keep_warm=("starter", "sdxl"),
        models_path=(Path("/a"), Path("/b")),
        idle_timeout=2.5,
    )
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings
