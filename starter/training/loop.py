"""One training loop for every stage: a time budget, two one-thread processes, an average of the weights, resumable."""

from __future__ import annotations

import logging
import math
import os
import socket
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from starter.dataset import TRAIN_FOLDER

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Budget:
    """How long and how hard to train. The learning rate warms up, then falls along a half cosine to `floor`."""

    minutes: float
    learning_rate: float
    batch: int  # per process
    warmup: float = 0.02
    floor: float = 0.02
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    bf16: bool = True
    processes: int = 2
    compiled: bool = True

    def rate(self, progress: float) -> float:
        """Return the learning rate at `progress` (0 at the start, 1 at the end of the budget)."""
        if progress < self.warmup:
            return self.learning_rate * (progress / self.warmup + 0.01)
        falling = 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - self.warmup) / (1 - self.warmup))))
        return self.learning_rate * (self.floor + (1 - self.floor) * falling)


class Learner(nn.Module):
    """A stage of training: its networks, its batches and its loss. Parameters without gradient stay as they are."""

    name: str

    @abstractmethod
    def draw_batch(self, rng: np.random.Generator, size: int) -> tuple[Tensor, ...]:
        """Return a random batch for `forward`."""

    @abstractmethod
    def forward(self, *batch: Tensor) -> Tensor:
        """Return the loss of a batch, a scalar."""

    def folder(self) -> Path:
        """Where this stage keeps its checkpoint and pictures."""
        folder = TRAIN_FOLDER / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def train(make: Callable[[], Learner], budget: Budget) -> Learner:
    """Train until the budget is spent and return the learner with its averaged weights, in evaluation mode.

    A run that was cut off goes on from its last checkpoint (at most a minute old); a finished one trains no more.
    """
    learner = make()
    checkpoint = learner.folder() / "checkpoint.pt"
    if not checkpoint.exists() or torch.load(checkpoint, weights_only=True)["progress"] < 1.0:
        port = _free_port()
        if budget.processes == 1:
            _run(0, make, budget, port)
        else:
            spawn(_run, args=(make, budget, port), nprocs=budget.processes)  # type: ignore[no-untyped-call]
    return restore(learner)


def restore(learner: Learner) -> Learner:
    """Load the averaged weights of the stage's last checkpoint into `learner`."""
    state = torch.load(learner.folder() / "checkpoint.pt", weights_only=True)
    average = EMAModel(_trained(learner))
    average.load_state_dict(state["average"])
    learner.load_state_dict(state["learner"])
    average.copy_to(_trained(learner))
    return learner.eval()


def _run(rank: int, make: Callable[[], Learner], budget: Budget, port: int) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    # Two processes of one thread: small layers lose a quarter of the time to threads waiting for each other.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // budget.processes))
    torch.manual_seed(0)
    learner = make().train().to(memory_format=torch.channels_last)
    # Compiled, the many small layers fuse: a quarter more images a second, for a minute and a half of compiling.
    module: nn.Module = learner
    if budget.compiled:
        module.compile()
    if budget.processes > 1:
        dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=budget.processes)
        module = DistributedDataParallel(module)
    try:
        _loop(rank, learner, module, budget)
    finally:
        if budget.processes > 1:
            dist.destroy_process_group()


def _loop(rank: int, learner: Learner, module: nn.Module, budget: Budget) -> None:
    parameters = _trained(learner)
    optimizer = torch.optim.AdamW(
        parameters, budget.learning_rate, weight_decay=budget.weight_decay, betas=(0.9, 0.99), fused=True
    )
    average = EMAModel(parameters, decay=budget.ema_decay, foreach=True)
    checkpoint = learner.folder() / "checkpoint.pt"
    elapsed, step = 0.0, 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        learner.load_state_dict(state["learner"])
        optimizer.load_state_dict(state["optimizer"])
        average.load_state_dict(state["average"])
        elapsed, step = state["elapsed"], state["step"]
    rng = np.random.default_rng([step, rank])
    torch.manual_seed(step * budget.processes + rank)
    started = time.monotonic() - elapsed
    last_saved, window = time.monotonic(), [0.0, 0.0]
    progress = 0.0
    while progress < 1.0:
        progress = _agreed((time.monotonic() - started) / (60 * budget.minutes), budget)
        for group in optimizer.param_groups:
            group["lr"] = budget.rate(progress)
        batch = learner.draw_batch(rng, budget.batch)
        with torch.autocast("cpu", torch.bfloat16, enabled=budget.bf16):
            loss = module(*batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.step(parameters)
        step += 1
        window[0] += loss.item()
        window[1] += 1
        if rank == 0 and (progress >= 1.0 or time.monotonic() - last_saved > CHECKPOINT_SECONDS):
            state = {
                "learner": learner.state_dict(),
                "optimizer": optimizer.state_dict(),
                "average": average.state_dict(),
                "elapsed": time.monotonic() - started,
                "step": step,
                "progress": progress,
            }
            _save(state, checkpoint)
            speed = window[1] * budget.batch * budget.processes / (time.monotonic() - last_saved)
            logger.info(
                "%s %3.0f%% step %d loss %.5f, %.0f images/s", learner.name, 100 * progress, step,
                window[0] / window[1], speed,
            )  # fmt: skip
            last_saved, window = time.monotonic(), [0.0, 0.0]


def _agreed(progress: float, budget: Budget) -> float:
    """Return the first process's decision, so that all processes use one learning rate and stop at one step."""
    if budget.processes == 1:
        return progress
    value = torch.tensor([progress], dtype=torch.float64)
    dist.broadcast(value, 0)
    return float(value)


def _trained(learner: Learner) -> list[nn.Parameter]:
    return [parameter for parameter in learner.parameters() if parameter.requires_grad]


def _save(state: dict[str, Any], path: Path) -> None:
    """Write beside the old checkpoint, then take its place: a kill in between loses nothing."""
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
