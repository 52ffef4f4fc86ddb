"""Data loader: batches from a data set, by workers or without, whose mistakes come out as they are."""

import os
import signal
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from autogaze.errors import InputError

Collate = Callable[[list[Any]], dict[str, Any]]


def batches(
    data: Any, batch_sampler: Any, collate: Collate, workers: int, device: torch.device
) -> Iterator[dict[str, Any]]:
    """Give the collated items of ``data`` for each list of indices in ``batch_sampler``.

    Raises ``InputError`` as the data set or ``collate`` does: torch would hand on the text of a worker's
    traceback instead.
    """
    loader = DataLoader(
        _Carried(data),
        batch_sampler=batch_sampler,
        collate_fn=partial(_carried, collate),
        # More of them would take turns on the same cores.
        num_workers=min(
            workers, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else workers
        ),
        worker_init_fn=_leave_signals_to_the_trainer,
        pin_memory=device.type == "cuda",
    )
    for batch in loader:
        if isinstance(batch, InputError):
            raise batch
        yield batch


class _Carried(Dataset[Any]):
    """A data set that gives the ``InputError`` of an item in its place."""

    def __init__(self, data: Any) -> None:
        self._data = data

    def __getitem__(self, index: int) -> Any:
        try:
            return self._data[index]
        except InputError as error:
            return error


def _carried(collate: Collate, items: list[Any]) -> Any:
    for item in items:
        if isinstance(item, InputError):
            return item
    try:
        return collate(items)
    except InputError as error:
        return error


def _leave_signals_to_the_trainer(worker: int) -> None:
    """Let a data worker go on when its whole process group is told to stop, as ``torchrun`` and a terminal
    do: the trainer finishes its step first, and then ends its workers without a signal."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
