"""Weights that a library knows by name: whether they are on this machine."""

from pathlib import Path

import pytest

from steps.engines.local_copies import missing_copy


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("REMBG_HOME", str(tmp_path / "rembg"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.delenv("U2NET_HOME", raising=False)


def test_weights_that_were_never_fetched_are_missing() -> None:
    assert "not in the Hugging Face cache" in str(missing_copy("diffusers", "stabilityai/sd-turbo"))
    assert "rembg d u2net" in str(missing_copy("rembg", "u2net"))
    assert missing_copy("an_engine_of_another_package", "weights") is None


@pytest.mark.parametrize(
    ("engine", "source", "file"),
    [
        ("diffusers", "stabilityai/sd-turbo", "hf/hub/models--stabilityai--sd-turbo/snapshots/1a2b/model_index.json"),
        ("clip", "openai/clip", "hf/hub/models--openai--clip/snapshots/1a2b/config.json"),
        ("rembg", "u2net", "rembg/models/u2net/u2net.onnx"),
        ("rembg", "u2net", "data/.u2net/u2net.onnx"),
    ],
)
def test_weights_that_were_fetched_are_there(tmp_path: Path, engine: str, source: str, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert missing_copy(engine, source) is None
