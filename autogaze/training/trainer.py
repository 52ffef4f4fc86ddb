"""The training loop: one process or many, any algorithm, cut off and resumed without a trace."""

import gc
import math
import signal
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from autogaze.datasets.batches import collate
from autogaze.datasets.labels import get_relative_video_path
from autogaze.errors import InputError
from autogaze.training.algorithms.objective import Moment, Objective, Prepared, Result
from autogaze.training.batch_order import EpochOrder, Replay, Share
from autogaze.training.data_loader import batches as load_batches
from autogaze.training.distributed import Process
from autogaze.training.log import JsonLines, RunLog, Sink, TensorBoard, WeightsAndBiases
from autogaze.training.run_folder import Position, RunFolder, find_resumable, load
from autogaze.training.schedules import learning_rate
from autogaze.training.settings import TrainerSettings, TrainingSettings

LOG_FILE = "metrics.jsonl"


class Trainer:
    """Minimises an objective over a data set, step by step."""

    def __init__(
        self,
        settings: TrainingSettings,
        objective: Objective,
        train_data: Any,
        val_data: Any,
        process: Process,
    ) -> None:
        self.settings, self.process = settings, process
        self.train_data, self.val_data = train_data, val_data
        trainer = settings.trainer
        self.objective = objective.to(process.device)
        self.share = Share(
            trainer.batch_size, trainer.per_gpu_max_batch_size, process.rank, process.world_size
        )
        self.replay = Replay(settings.algorithm.steps_per_generation, settings.algorithm.num_iterations)
        batches = EpochOrder(len(train_data), self.share, trainer.seed, 0).batches
        self.steps_per_epoch = batches * self.replay.num_iterations
        self.steps = trainer.n_epochs * self.steps_per_epoch
        self.folder = RunFolder(Path(trainer.logdir) / trainer.exp_name)
        self.models = objective.trained()
        self.parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimizer = _optimizer(trainer, self.parameters)
        self.learning_rate = learning_rate(trainer.lr_schedule, trainer.lr, trainer.min_lr, self.steps)
        self.step = 0
        resumed = find_resumable(trainer.resume, self.folder)
        if resumed is not None:
            self.step = load(resumed, self._position(), self.models, self.optimizer)
        self._check_start()
        self.wrapped: nn.Module = self.objective
        self._stop_asked = False

    def _position(self) -> Position:
        trainer = self.settings.trainer
        identity = self.settings.identity() | {"dataset.videos": _contents(self.train_data)}
        return Position(self.step, self.steps_per_epoch, trainer.batch_size, trainer.seed, identity)

    def _check_start(self) -> None:
        """Refuse to go on from different steps, as processes do that do not see the same files."""
        steps = sorted(set(self.process.gather(self.step)))
        if len(steps) > 1:
            raise InputError(
                f"the processes found checkpoints of steps {', '.join(map(str, steps))}; give trainer.logdir "
                "a folder that all of them see"
            )

    def run(self) -> bool:
        """Train to the end, or only validate; return whether the end was reached.

        A SIGTERM or SIGINT ends the run after the steps on what is prepared, with a checkpoint written.
        """
        first = self.process.is_first
        sinks = self._sinks() if first else []
        console = Console(stderr=True) if first else None
        if console and self.step:
            reached = "has reached its end; another run needs another trainer.exp_name"
            stands = reached if self.step >= self.steps else f"stands at step {self.step}"
            console.print(f"{self.folder.path} {stands}", soft_wrap=True, highlight=False)
        with (
            RunLog(sinks, self.steps, self.step, console=console) as log,
            _asked_to_stop(self._ask_to_stop),
            self._distributed(),
        ):
            if self.settings.trainer.val_only:
                log.validation(self.step, self.validate())
                return True
            while self.step < self.steps:
                if not self._epoch(log):
                    break
        if console and self.step < self.steps:
            console.print(f"stopped after step {self.step}; the same command goes on", highlight=False)
        return self.step >= self.steps

    @contextmanager
    def _distributed(self) -> Iterator[None]:
        """Exchange gradients with the other processes.

        The wrapper ends here, before the process group does: as the last to hold the group it would join a
        thread of gloo's while it has the interpreter's lock, which that thread may wait for.
        """
        self.wrapped = _wrapped(self.objective, self.process)
        try:
            yield
        finally:
            self.wrapped = self.objective
            gc.collect()

    def _ask_to_stop(self) -> None:
        self._stop_asked = True

    def _sinks(self) -> list[Sink]:
        trainer, path = self.settings.trainer, self.folder.path
        # Validation takes no step, so there is none that was taken before and would be told twice.
        told = math.inf if trainer.val_only else self.step
        sinks: list[Sink] = []
        if trainer.use_tensorboard:
            sinks.append(TensorBoard(path, told))
        if trainer.use_wandb:
            sinks.append(WeightsAndBiases(path, self.settings.model_dump()))
        return [JsonLines(path / LOG_FILE, told), *sinks]

    def _epoch(self, log: RunLog) -> bool:
        """Take the rest of the steps of an epoch; return False if asked to stop."""
        position, replay = self._position(), self.replay
        batches = self._batches(position.epoch, position.iteration // replay.num_iterations)
        micro_batches = len(self.share.micro_batches)
        started = time.perf_counter()  # waiting for data counts
        while generation := list(islice(batches, micro_batches * replay.steps_per_generation)):
            prepared = self._prepared(generation)
            if not self._generation(prepared, position.epoch, log, started):
                return False
            started = time.perf_counter()
        return True

    def _prepared(self, generation: list[Mapping[str, Any]]) -> list[list[Prepared]]:
        """Return this process's micro-batches of some global batches, prepared, for one batch after
        another."""
        self.objective.train()
        places, prepared = self.share.micro_batches, list[list[Prepared]]()
        for start in range(0, len(generation), len(places)):
            step, parts = self.step + len(prepared), list[Prepared]()
            for place, batch in zip(places, generation[start : start + len(places)], strict=True):
                with torch.no_grad(), self._autocast():
                    moment = self._moment(place.start, step)
                    parts.append(self.objective.prepare(self._to_device(batch), moment))
            prepared.append(parts)
        return prepared

    def _generation(self, prepared: list[list[Prepared]], epoch: int, log: RunLog, started: float) -> bool:
        """Take all steps on some prepared batches; return False if asked to stop.

        A checkpoint holds no prepared batches, so there is none but at the end.
        """
        trainer, first, stopped = self.settings.trainer, self.step, False
        order = self.replay.order(len(prepared), trainer.seed, first)
        for batch in order:
            metrics, stop = self._train_step(prepared[batch])
            self.step, stopped = self.step + 1, stopped or stop
            metrics["clips/s"] = trainer.batch_size * (self.step - first) / (time.perf_counter() - started)
            log.step(self.step, epoch, metrics)
            last = self.step == self.steps
            due = last or stopped or self.step // trainer.save_nsteps > first // trainer.save_nsteps
            if due and self.step == first + len(order):
                self._save()  # before a validation, which may find clips that cannot be read
            if self.step % trainer.val_nsteps == 0 or last:
                log.validation(self.step, self.validate())
        return self.step == self.steps or not stopped

    def _batches(self, epoch: int, first_batch: int) -> Iterator[Mapping[str, Any]]:
        if hasattr(self.train_data, "set_epoch"):
            self.train_data.set_epoch(epoch)
        order = EpochOrder(len(self.train_data), self.share, self.settings.trainer.seed, epoch, first_batch)
        return self._load(self.train_data, order)

    def _load(self, data: Any, batch_sampler: Any) -> Iterator[dict[str, Any]]:
        together = partial(collate, grid=self.objective.grid)
        workers = self.settings.dataset.num_workers
        return load_batches(data, batch_sampler, together, workers, self.process.device)

    def _train_step(self, prepared: list[Prepared]) -> tuple[dict[str, float], bool]:
        """Take one optimizer step on this process's micro-batches; return metrics, and whether to stop."""
        rate = self.learning_rate(self.step)
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = rate
        self.objective.train()
        totals, stop = self._totals([each.counts for each in prepared])
        self.optimizer.zero_grad(set_to_none=True)
        results = []
        for number, each in enumerate(prepared, start=1):
            with self._synchronised(number == len(prepared)):
                with self._autocast():
                    result: Result = self.wrapped(each, totals)
                # Gradients are averaged over the processes; the parts of the loss are to be added.
                (result.loss * self.process.world_size).backward()
            results.append(result.metrics)
        metrics = self._added(results)
        most = self.settings.trainer.clip_grad_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, math.inf if most is None else most)
        metrics["grad_norm"] = float(norm)
        self._check_finite(metrics)
        self.optimizer.step()
        return metrics | {"lr": rate}, stop

    def _check_finite(self, metrics: Mapping[str, float]) -> None:
        """Refuse a step that would turn the weights into NaNs, and good checkpoints with them.

        Metrics and gradients are those of the global batch, so all processes refuse it together.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise InputError(
                    f"{name} is {value} at step {self.step + 1}, which was not taken; lower trainer.lr, set "
                    f"trainer.clip_grad_norm, or look for what is not a number in labels and videos. The "
                    f"last checkpoint in {self.folder.path} is from before"
                )

    def _moment(self, first: int, step: int) -> Moment:
        return Moment(self.settings.trainer.seed, step, self.steps, first)

    def _to_device(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _moved(value, self.process.device) for name, value in batch.items()}

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.trainer.precision == "float32":
            return nullcontext()
        return torch.autocast(self.process.device.type, torch.bfloat16)

    def _synchronised(self, now: bool) -> AbstractContextManager[Any]:
        """Exchange gradients with the other processes only at the last micro-batch."""
        if now or not isinstance(self.wrapped, DistributedDataParallel):
            return nullcontext()
        return self.wrapped.no_sync()

    def _totals(self, counts: list[Mapping[str, float]]) -> tuple[dict[str, float], bool]:
        """Return the counts of the global batch, and whether any process was asked to stop."""
        names = list(counts[0])
        own = [float(sum(each[name] for each in counts)) for name in names]
        *totals, stop = self.process.sum([*own, float(self._stop_asked)])
        return dict(zip(names, totals, strict=True)), stop > 0

    def _added(self, parts: list[Mapping[str, Tensor]]) -> dict[str, float]:
        names = list(parts[0])
        own = torch.stack([torch.stack([part[name].double() for name in names]) for part in parts]).sum(dim=0)
        return dict(zip(names, self.process.sum(own.tolist()), strict=True))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the mean of each metric over the validation split, the same in every process."""
        self.objective.eval()
        size = self.share.micro_batch_size
        starts = range(0, len(self.val_data), size)
        mine = list(starts)[self.process.rank :: self.process.world_size]
        places = [list(range(start, min(start + size, len(self.val_data)))) for start in mine]
        sums, counts = defaultdict[str, float](float), defaultdict[str, float](float)
        for place, batch in zip(places, self._load(self.val_data, places), strict=True):
            moment = Moment(self.settings.trainer.seed, 0, self.steps, place[0])
            with self._autocast():
                measured = self.objective.validate(self._to_device(batch), moment)
            for name, (total, count) in measured.items():
                sums[name] += total
                counts[name] += count
        everywhere = self.process.gather((sums, counts))
        names = list(dict.fromkeys(name for sums, _ in everywhere for name in sums))
        return {
            name: sum(sums[name] for sums, _ in everywhere) / sum(counts[name] for _, counts in everywhere)
            for name in names
        }

    def _save(self) -> None:
        if self.process.is_first:
            self.folder.save(self._position(), self.models, self.optimizer)
        self.process.wait()


def _optimizer(settings: TrainerSettings, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, settings.lr, weight_decay=settings.weight_decay)
    kind = torch.optim.Adam if settings.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, settings.lr, weight_decay=settings.weight_decay)


def _wrapped(objective: Objective, process: Process) -> nn.Module:
    return objective if process.world_size == 1 else DistributedDataParallel(objective)


def _contents(data: Any) -> str:
    """Tell a data set from others: by its length, and by the names of its videos if it has any."""
    names = "\n".join(get_relative_video_path(video) for video in getattr(data, "videos", ()))
    return f"{len(data)} named {zlib.crc32(names.encode()):08x}" if names else str(len(data))


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {name: _moved(each, device) for name, each in value.items()}
    return value


@contextmanager
def _asked_to_stop(ask: Callable[[], None]) -> Iterator[None]:
    """Turn SIGTERM and SIGINT into a call of ``ask``; a second one ends the process as usual."""

    def handle(number: int, frame: object) -> None:
        signal.signal(number, previous[signal.Signals(number)])
        ask()

    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in previous:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
