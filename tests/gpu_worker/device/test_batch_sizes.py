"""Working sizes: what is the same kind of work, and what outlives the process that found it out."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from configs.catalogues.models import ModelRef
from gpu_worker.device.batch_sizes import PATIENCE, BatchPlan, BatchSizeCache, MemoryKey, memory_key
from steps.contract import MemoryFallback
from steps.generate import Generate
from steps.upscale import Upscale
from storage.ledger import fleet
from storage.ledger.ledger import Ledger
from tests.support.fake_steps import Fill, frames

DIGESTS = {"m/upscaler": "a" * 64, "m/diffusion": "b" * 64}
KEY = MemoryKey("key", on_device=True)
LIMIT = 8


def sizes_of(ledger: Ledger, device: str = "H100") -> BatchSizeCache:
    return BatchSizeCache(ledger.fleet, lambda: device)


def known(ledger: Ledger, device: str = "H100") -> dict[str, tuple[int, int]]:
    return {key: (found.size, found.fallback) for key, found in ledger.fleet.batch_sizes(device).items()}


def digest(step: Any, size: tuple[int, int] = (64, 64), digests: dict[str, str] = DIGESTS) -> str:
    return memory_key(step, frames(1, size)[0], digests).digest


def test_work_is_of_one_kind_by_step_model_parameters_and_image_size() -> None:
    upscale, generate = Upscale(model="m"), Generate(model="m", width=64)
    kinds = {
        digest(upscale),
        digest(upscale, (64, 128)),
        digest(upscale, digests=DIGESTS | {"m/upscaler": "c" * 64}),
        digest(Upscale(model="m", tile=32)),
        digest(generate),
        digest(Generate(model="m", width=128)),
    }
    assert len(kinds) == 6


def test_what_takes_no_memory_makes_no_other_kind() -> None:
    assert digest(Generate(model="m", prompt="a {name}", steps=50)) == digest(Generate(model="m", scheduler="euler"))


@pytest.mark.parts
def test_the_digest_is_the_same_in_every_process() -> None:
    code = (
        "from steps.upscale import Upscale; from gpu_worker.device.batch_sizes import memory_key\n"
        "from tests.support.fake_steps import frames\n"
        f"print(memory_key(Upscale(model='m'), frames(1, (64, 64))[0], {DIGESTS!r}).digest)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest(Upscale(model="m"))


def test_work_without_models_says_nothing_about_a_device(ledger: Ledger) -> None:
    key = memory_key(Fill(), frames(1)[0], {})
    assert not key.on_device
    sizes = BatchSizeCache(
        ledger.fleet, lambda: pytest.fail("nobody needs to know the device, which takes importing torch")
    )
    sizes.did_not_fit(key, BatchPlan(8))
    sizes.worked(key, BatchPlan(4), LIMIT)
    assert sizes.start(key, LIMIT) == BatchPlan(4)


def test_a_model_whose_digest_is_unknown_is_no_error() -> None:
    assert digest(Upscale(model="m"), digests={}) != digest(Upscale(model="m"))
    assert Upscale(model="m").model_refs() == (ModelRef("m", "upscaler"),)


def test_only_what_worked_is_recorded(ledger: Ledger) -> None:
    sizes = sizes_of(ledger)
    assert sizes.start(KEY, LIMIT) == BatchPlan(8)
    sizes.did_not_fit(KEY, BatchPlan(8))
    assert known(ledger) == {}
    sizes.worked(KEY, BatchPlan(4), LIMIT)
    assert known(ledger) == {"key": (4, 0)}


def test_another_process_begins_where_this_one_ended(ledger: Ledger) -> None:
    sizes = sizes_of(ledger)
    sizes.start(KEY, LIMIT)
    sizes.did_not_fit(KEY, BatchPlan(1))
    sizes.worked(KEY, BatchPlan(1, MemoryFallback.TILE), LIMIT)
    assert sizes_of(ledger).start(KEY, LIMIT) == BatchPlan(1, MemoryFallback.TILE)
    assert sizes_of(ledger, "L4").start(KEY, LIMIT) == BatchPlan(8)


def test_a_smaller_setting_is_obeyed(ledger: Ledger) -> None:
    ledger.fleet.record_batch_size("H100", "key", 4, 0)
    assert sizes_of(ledger).start(KEY, 2) == BatchPlan(2)


def test_a_limit_that_is_gone_is_forgotten(ledger: Ledger) -> None:
    ledger.fleet.record_batch_size("H100", "key", 4, 0)
    sizes = sizes_of(ledger)
    for _ in range(PATIENCE):
        assert sizes.start(KEY, LIMIT) == BatchPlan(4)
        sizes.worked(KEY, BatchPlan(4), LIMIT)
    assert sizes.start(KEY, LIMIT) == BatchPlan(8)
    sizes.worked(KEY, BatchPlan(8), LIMIT)
    assert known(ledger) == {}
    assert sizes.start(KEY, 16) == BatchPlan(16)


def test_yesterday_s_limit_is_tried_again_and_if_it_still_holds_is_today_s(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Yesterday(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) - timedelta(days=1, hours=1)

    with monkeypatch.context() as patch:
        patch.setattr(fleet, "datetime", Yesterday)
        ledger.fleet.record_batch_size("H100", "key", 4, 0)
    sizes = sizes_of(ledger)
    assert sizes.start(KEY, LIMIT) == BatchPlan(8)
    assert sizes.did_not_fit(KEY, BatchPlan(8))
    assert sizes.start(KEY, LIMIT) == BatchPlan(4)
    assert ledger.fleet.batch_sizes("H100")["key"].recorded_at > datetime.now(UTC) - timedelta(minutes=5)
    assert sizes_of(ledger).start(KEY, LIMIT) == BatchPlan(4)


def test_a_remainder_proves_nothing(ledger: Ledger) -> None:
    ledger.fleet.record_batch_size("H100", "key", 4, 0)
    sizes = sizes_of(ledger)
    for _ in range(2 * PATIENCE):
        sizes.start(KEY, LIMIT)
        sizes.worked(KEY, BatchPlan(3), LIMIT)
    assert sizes.start(KEY, LIMIT) == BatchPlan(4)


def test_a_relief_of_a_newer_version_is_the_strongest_known(ledger: Ledger) -> None:
    ledger.fleet.record_batch_size("H100", "key", 1, 9)
    assert sizes_of(ledger).start(KEY, LIMIT) == BatchPlan(1, MemoryFallback.OFFLOAD)
