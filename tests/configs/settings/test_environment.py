"""What a process makes of its environment before it starts others."""

import os
from pathlib import Path

import pytest

from configs.settings.environment import settle_environment, settle_settings
from configs.settings.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The working folder is the test's, and no variable but its own counts."""
    monkeypatch.chdir(tmp_path)
    for name in ("no_proxy", "NO_PROXY", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "")  # so that what a test sets is undone
        del os.environ[name]


def test_what_listens_here_needs_no_proxy() -> None:
    settle_environment()
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "127.0.0.1,localhost,::1"


def test_hosts_that_need_no_proxy_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "files.example, localhost")
    settle_environment()
    assert os.environ["no_proxy"] == "files.example,localhost,127.0.0.1,::1"
    monkeypatch.setenv("no_proxy", "*")
    settle_environment()
    assert os.environ["no_proxy"] == "*"


def test_files_of_other_libraries_are_the_same_in_any_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "keys/credentials")
    settle_environment()
    assert os.environ["AWS_SHARED_CREDENTIALS_FILE"] == str(tmp_path / "keys/credentials")


@pytest.mark.parametrize(
    ("variable", "given", "settled"),
    [
        ("PIXELMILL_HOME", "its-home", "HERE/its-home"),
        ("PIXELMILL_RECIPES_PATH", "./recipes:/others", "HERE/recipes:/others"),
        ("PIXELMILL_CATALOGUE_PATH", "catalogue.yaml", "HERE/catalogue.yaml"),
        ("PIXELMILL_INPUT_FOLDERS", "photos", "HERE/photos"),
        ("PIXELMILL_WORKING_FOLDER", ".", "HERE"),
        ("PIXELMILL_OUTPUT_ROOTS", "out,s3://bucket/out", "HERE/out,s3://bucket/out"),
        ("PIXELMILL_LEDGER_URL", "sqlite:///ledger.db", "sqlite:///HERE/ledger.db"),
        ("PIXELMILL_LEDGER_URL", "sqlite:////var/ledger.db", "sqlite:////var/ledger.db"),
        ("PIXELMILL_LEDGER_URL", "postgresql://me:pass@host/mill", "postgresql://me:pass@host/mill"),
    ],
)
def test_paths_of_settings_are_those_of_the_process_that_reads_them_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, given: str, settled: str
) -> None:
    monkeypatch.setenv(variable, given)
    settle_settings(load_settings())
    assert os.environ[variable] == settled.replace("HERE", str(tmp_path))
    monkeypatch.chdir("/")
    assert Settings().as_environment()[variable] == os.environ[variable]


def test_a_home_of_a_user_that_is_unknown_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXELMILL_HOME", "~nobody-of-this-name/mill")
    with pytest.raises(Exception, match=r"PIXELMILL_HOME: .*a user that this machine does not know"):
        load_settings()
