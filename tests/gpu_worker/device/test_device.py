"""The device: the one asked for, or an error that says what to do."""

import os
import subprocess
import sys

import pytest

from gpu_worker.device.device import (
    MEGABYTE,
    DeviceUnavailable,
    available_cores,
    choose_device,
    held_mb,
    resident_bytes,
)


def test_the_cpu_is_always_there() -> None:
    device = choose_device("cpu")
    assert device.kind == "cpu"
    assert device.total_mb > 0
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


def test_the_memory_of_this_process_is_known() -> None:
    before = resident_bytes(os.getpid()) // MEGABYTE
    ballast = b"x" * 500_000_000  # more than whatever earlier tests have left free in this process
    assert held_mb(choose_device("cpu")) >= before + len(ballast) // 2**20 - 5


@pytest.mark.parts
@pytest.mark.parametrize("kind", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(kind: str) -> None:
    import torch

    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("this machine has an accelerator")
    with pytest.raises(DeviceUnavailable, match=rf"PIXELMILL_DEVICE is '{kind}'.*'cpu'"):
        choose_device(kind)  # type: ignore[arg-type]


@pytest.mark.parts
def test_asking_for_the_cpu_loads_no_torch_and_limits_its_threads() -> None:
    program = (
        "import os, sys; os.environ.pop('OMP_NUM_THREADS', None);"
        "from gpu_worker.device.device import choose_device as c; "
        "c('cpu'); print('torch' in sys.modules, os.environ['OMP_NUM_THREADS'])"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["False", str(available_cores())]
