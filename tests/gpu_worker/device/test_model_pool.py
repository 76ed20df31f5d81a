"""The model pool: one load per model, the least recently used leaves, what is in use stays."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from configs.catalogues.models import ModelPart, ModelRef
from gpu_worker.device.model_pool import ModelLoadError, ModelPool
from tests.gpu_worker.device.small_pool import A, B, C, Parts, make_pool
from tests.support.waiting import PATIENCE


def test_a_model_is_loaded_once_and_stays() -> None:
    loads: list[tuple[ModelRef, float]] = []
    pool = make_pool()
    first = pool.get(A, lambda ref, seconds: loads.append((ref, seconds)))
    with pool.use(A, lambda ref, seconds: loads.append((ref, seconds))) as second:
        assert second is first
    assert first == ["a", "cpu"]
    assert [ref for ref, seconds in loads if seconds >= 0] == [A]
    assert pool.loads[A] == 1


def test_the_least_recently_used_leaves_first() -> None:
    pool = make_pool(budget_mb=100)
    for ref in (A, B, A, C):
        pool.get(ref)
    assert pool.resident() == (A, C)


def test_a_model_in_use_never_leaves() -> None:
    pool = make_pool(budget_mb=50)
    with pool.use(A), pool.use(B):
        assert pool.resident() == (A, B)
    pool.get(C)
    assert pool.resident() == (C,)


def test_two_threads_share_one_load() -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(source: str, options: Mapping[str, Any], device: str) -> object:
        entered.set()
        assert release.wait(PATIENCE)
        return object()

    pool = make_pool(loader=slow)
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(pool.get, A), threads.submit(pool.get, A)
        assert entered.wait(PATIENCE)
        release.set()
        assert first.result() is second.result()
    assert pool.loads[A] == 1


def test_a_resident_model_can_be_used_while_another_loads() -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(source: str, options: Mapping[str, Any], device: str) -> object:
        if source == "b":
            entered.set()
            assert release.wait(PATIENCE)
        return object()

    pool = make_pool(loader=slow)
    pool.get(A)
    with ThreadPoolExecutor(1) as threads:
        loading = threads.submit(pool.get, B)
        assert entered.wait(PATIENCE)
        pool.get(A)
        assert not loading.done()
        release.set()
        loading.result()


def test_idle_models_leave_on_request() -> None:
    pool = make_pool()
    pool.get(A)
    assert pool.evict_idle(3600) == ()
    with pool.use(B):
        assert pool.evict_idle(0) == (A,)
    assert pool.resident() == (B,)


def test_a_failed_load_names_the_model_and_what_to_do() -> None:
    def missing(source: str, options: Mapping[str, Any], device: str) -> object:
        raise FileNotFoundError("weights.safetensors")

    pool = make_pool(loader=missing)
    with pytest.raises(ModelLoadError, match=r"model a/diffusion .*engine test.*weights\.safetensors.*Check `source`"):
        pool.get(A)
    assert pool.resident() == ()


def test_a_load_that_does_not_fit_is_tried_again_without_the_idle_models() -> None:
    pool: ModelPool

    def crowded(source: str, options: Mapping[str, Any], device: str) -> object:
        if source == "b" and A in pool.resident():
            raise RuntimeError("CUDA out of memory")
        return object()

    pool = make_pool(loader=crowded)
    pool.get(A)
    pool.get(B)
    assert pool.resident() == (B,)


def test_memory_is_taken_from_the_files_when_nobody_says(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(bytes(3 * 2**20))
    pool = make_pool(parts=Parts({A: ModelPart(engine="test", source=str(tmp_path))}))
    assert pool.memory_mb(A) == 3
    pool.get(A)
    assert pool.memory_mb(A) >= 3


def test_fits_compares_with_the_budget() -> None:
    pool = make_pool(budget_mb=100)
    assert pool.fits((A, B, A))
    assert not pool.fits((A, B, C))


def test_the_engine_hears_of_the_revision() -> None:
    def loader(source: str, options: Mapping[str, Any], device: str) -> object:
        return dict(options)

    part = ModelPart(engine="test", source="org/name", revision="abc", options={"variant": "fp16"})
    pool = make_pool(loader=loader, parts=Parts({A: part}))
    assert pool.get(A) == {"revision": "abc", "variant": "fp16"}
