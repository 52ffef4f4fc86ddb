"""Training logs: progress bar, ``metrics.jsonl``, TensorBoard, W&B."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autogaze.errors import InputError
from autogaze.files import write_text


class Sink(Protocol):
    """Somewhere that metrics go."""

    def write(self, step: int, metrics: Mapping[str, float]) -> None: ...
    def close(self) -> None: ...


class JsonLines:
    """``metrics.jsonl``: one object a step, flushed at once.

    A run that goes on from step ``first_step`` drops the lines that an earlier one wrote past it; none for
    infinity.
    """

    def __init__(self, path: Path, first_step: float) -> None:
        try:
            kept = [] if first_step == 0 or not path.is_file() else _lines_before(path, first_step)
            write_text(path, "".join(kept))
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"the run's folder {path.parent} cannot be written: {error.strerror or error}; choose "
                "another trainer.logdir"
            ) from error

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add a line; numbers that JSON does not have become null."""
        values = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _lines_before(path: Path, step: float) -> list[str]:
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line)
        except (ValueError, KeyError):  # cut off in the middle of a line
            break
    return kept


class TensorBoard:
    """Event files beside the log; events past ``first_step`` in those that are there are no longer shown."""

    def __init__(self, folder: Path, first_step: float) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                "trainer.use_tensorboard=true needs the package tensorboard, which is not installed; "
                "pip install tensorboard"
            ) from None
        purge_step = int(first_step) + 1 if math.isfinite(first_step) else None
        self._writer: Any = SummaryWriter(str(folder), purge_step=purge_step)

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()


class WeightsAndBiases:
    """A W&B run of the experiment's name."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError:
            raise InputError(
                "trainer.use_wandb=true needs the package wandb, which is not installed; pip install wandb"
            ) from None
        self._run: Any = wandb.init(
            project="autogaze", name=folder.name, dir=str(folder), config=dict(settings), resume="allow"
        )

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


class RunLog:
    """The progress line and all sinks; the other processes have neither, nor a ``console``."""

    def __init__(self, sinks: list[Sink], steps: int, first_step: int, *, console: Console | None) -> None:
        self._sinks, self._console = sinks, console
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[shown]}"),
            TimeRemainingColumn(),
            console=console,
            disable=console is None,
        )
        self._line = self._progress.add_task("", total=steps, completed=first_step, epoch=0, shown="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        for sink in self._sinks:
            sink.close()

    def step(self, step: int, epoch: int, metrics: Mapping[str, float]) -> None:
        """Tell of an optimizer step; ``step`` counts from 1."""
        self._write(step, metrics)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        self._progress.update(self._line, completed=step, epoch=epoch, shown=shown)

    def validation(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tell of a validation after ``step`` steps."""
        self._write(step, {f"val/{name}": value for name, value in metrics.items()})
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        if self._console is not None:
            self._console.print(f"step {step}  validation  {shown}", highlight=False)

    def _write(self, step: int, metrics: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.write(step, metrics)
