"""Distributed training: one process, or several started by ``torchrun``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from autogaze.errors import InputError


@dataclass(frozen=True)
class Process:
    """This process among those that train together."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def sum(self, values: list[float]) -> list[float]:
        """Return the sums over all processes, the same in each; double precision."""
        if self.world_size == 1:
            return values
        # Collectives of the gloo backend run on the host, those of nccl on the device.
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return [float(value) for value in total.tolist()]

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all processes, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            dist.barrier()


@contextmanager
def joined_process(device: str = "auto") -> Iterator[Process]:
    """Join the processes that ``torchrun`` started, if it did, and leave them at the end.

    ``device`` is ``auto``, ``cpu``, ``cuda`` or one such as ``cuda:1``; with ``cuda`` each process takes the
    device of its local rank.
    """
    rank, world_size, local_rank = (int(os.environ.get(name, default)) for name, default in _TORCHRUN.items())
    chosen = _device(device, local_rank)
    if world_size == 1:
        yield Process(chosen)
        return
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Process(chosen, rank, world_size)
    finally:
        dist.destroy_process_group()


_TORCHRUN = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"}


def _device(name: str, local_rank: int) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type != "cuda":
            torch.empty(0, device=device)
            return device
    except RuntimeError:
        raise InputError(
            f"device '{name}' cannot be used here: known are auto, cpu, cuda and cuda:<index>"
        ) from None
    index = local_rank if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise InputError(
            f"device {name} needs GPU {index}, and {torch.cuda.device_count()} are visible; start fewer "
            "processes, or set trainer.device=cpu"
        )
    return torch.device("cuda", index)
