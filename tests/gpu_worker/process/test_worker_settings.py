"""What a worker refuses at its start: with it, each shard that it takes would fail."""

from pathlib import Path

import pytest

from configs.documents.problems import InvalidInput
from configs.settings.settings import Settings
from gpu_worker.process.prefect_worker import check_worker_settings


def test_settings_with_which_no_shard_could_succeed_are_refused_all_at_once(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"ledger_url": "garbage", "catalogue_path": [tmp_path / "gone.yaml"], "keep_warm": ["nix"]}
    )
    with pytest.raises(InvalidInput) as refused:
        check_worker_settings(settings)
    said = [str(problem) for problem in refused.value.problems]
    assert [text.partition(":")[0] for text in said] == [
        "PIXELMILL_LEDGER_URL",
        str(tmp_path / "gone.yaml"),
        "PIXELMILL_KEEP_WARM",
    ]


def test_a_ledger_that_is_not_there_yet_is_no_mistake(tmp_path: Path) -> None:
    check_worker_settings(Settings.model_validate({"ledger_url": "postgresql://mill@nowhere.invalid/mill"}))
    check_worker_settings(Settings(home=tmp_path / "not-made-yet"))
