"""Checkpoints of a training run: models as their loaders read them, and what it takes to go on.

``checkpoint_latest_train.pt`` alone decides where a run goes on: it holds weights, optimizer and position,
and appears in one rename. The model folders beside it are for everyone else.
"""

import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autogaze.errors import InputError
from autogaze.files import PARTIAL, PREVIOUS, replacing
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
from autogaze.video.preprocessing import DEFAULT_PIXEL_SCALE

KEPT = 2
"""Periodic checkpoints that stay."""

_PERIODIC = re.compile(rf"checkpoint_ep(\d+)_iter(\d+)({re.escape(PARTIAL)}|{re.escape(PREVIOUS)})?")


@dataclass(frozen=True)
class Position:
    """Where a run stands, and what must be as it was for the data to follow on."""

    step: int
    """Optimizer steps taken."""
    steps_per_epoch: int
    batch_size: int
    seed: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of algorithm and data, by their dotted names."""

    @property
    def epoch(self) -> int:
        return self.step // self.steps_per_epoch

    @property
    def iteration(self) -> int:
        """Steps taken in the epoch."""
        return self.step % self.steps_per_epoch

    def identity(self) -> dict[str, Any]:
        """Return by name what must be as it was for the run to go on."""
        own = {name: getattr(self, name) for name in ("batch_size", "seed")}
        # Last, since what it follows from says better what differs.
        return own | dict(self.settings) | {"steps_per_epoch": self.steps_per_epoch}


@dataclass(frozen=True)
class RunFolder:
    """``exps/<exp_name>``: the checkpoints and the log of one run."""

    path: Path

    @property
    def latest(self) -> Path:
        """The file that a resumed run reads."""
        return self.path / "checkpoint_latest_train.pt"

    def save(self, position: Position, models: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
        """Write the latest checkpoint and a periodic one, and drop periodic ones but the last two."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            periodic = self.path / f"checkpoint_ep{position.epoch}_iter{position.iteration}"
            for name, model in models.items():
                with replacing(self.path / f"checkpoint_latest_{name}") as folder:
                    _export(model, folder)
            state = {
                "position": asdict(position),
                "models": {name: model.state_dict() for name, model in models.items()},
                "optimizer": optimizer.state_dict(),
            }
            with replacing(self.latest) as file:
                torch.save(state, file)
            with replacing(periodic) as folder:
                self._copy_latest(folder, models)
            self._drop_old(position)
        except OSError as error:
            raise InputError(
                f"the run's folder {self.path} cannot be written: {error.strerror or error}; free space or "
                "choose another trainer.logdir"
            ) from error

    def _copy_latest(self, folder: Path, models: Mapping[str, Any]) -> None:
        folder.mkdir()
        for name in models:
            shutil.copytree(self.path / f"checkpoint_latest_{name}", folder / name)
        shutil.copy(self.latest, folder / "train.pt")

    def _drop_old(self, position: Position) -> None:
        """Drop periodic checkpoints but the last two, and those that a killed run left half-written."""
        here, found = (position.epoch, position.iteration), []
        for path in self.path.iterdir():
            match = _PERIODIC.fullmatch(path.name)
            if match and match[3]:
                shutil.rmtree(path)
            elif match:
                place = int(match[1]), int(match[2])
                # What lies ahead is of a run that this one took the place of: older than all of its own.
                found.append((place <= here, place, path))
        for *_, old in sorted(found)[:-KEPT]:
            shutil.rmtree(old)


def _export(model: Any, folder: Path) -> None:
    """Write a model into ``folder`` as its own loader reads it."""
    if isinstance(model, AutoGaze):
        model.save_pretrained(folder)
        pixels = DEFAULT_PIXEL_SCALE
        AutoGazeImageProcessor(
            size={"shortest_edge": model.arch.image_size},
            rescale_factor=pixels.rescale_factor,
            offset=pixels.offset,
            image_mean=list(pixels.image_mean),
            image_std=list(pixels.image_std),
        ).save_pretrained(folder)
    else:
        model.save(folder)


def find_resumable(resume: str | None, folder: RunFolder) -> Path | None:
    """Return the file a run goes on from, or None to begin anew.

    ``resume`` is ``auto`` (the folder's latest checkpoint, if there is one), a file, or a checkpoint folder
    with ``train.pt`` in it.
    """
    if resume is None:
        return None
    if resume == "auto":
        return folder.latest if folder.latest.is_file() else None
    path = Path(resume).expanduser()
    path = path / "train.pt" if path.is_dir() else path
    if not path.is_file():
        raise InputError(
            f"trainer.resume names {resume}, which is not there; give 'auto', a checkpoint_latest_train.pt, "
            "or null to begin anew"
        )
    return path


def load(
    path: Path, expected: Position, models: Mapping[str, nn.Module], optimizer: torch.optim.Optimizer
) -> int:
    """Bring models and optimizer to where a checkpoint left them, and return the steps taken.

    ``expected`` is the start of the run that goes on; the optimizer keeps the settings it was made with.
    Raises ``InputError`` for a file of another run: another algorithm, other models, batches or data, another
    seed or kind of optimizer.
    """
    position, weights, optimizer_state = _read(path)
    before = position.identity()
    for name, wanted in expected.identity().items():
        was = before.get(name, wanted)
        if was != wanted:
            raise InputError(
                f"{path} is from a run with {name} {was}, and this one has {wanted}; use the same settings, "
                "name another trainer.exp_name, or set trainer.resume=null"
            )
    if weights.keys() != models.keys():
        raise InputError(
            f"{path} holds {', '.join(weights)}, and this run trains {', '.join(models)}; name "
            "another trainer.exp_name, or set trainer.resume=null"
        )
    own = optimizer.state_dict()["param_groups"]
    if ("betas" in own[0]) != ("betas" in optimizer_state["param_groups"][0]):
        raise InputError(
            f"{path} is from a run with another kind of optimizer, Adam or SGD; use the trainer.optimizer of "
            "that run, or set trainer.resume=null"
        )
    for name, model in models.items():
        try:
            model.load_state_dict(weights[name])
        except RuntimeError:
            raise InputError(
                f"the {name} weights in {path} are of another architecture; use the configuration of that "
                "run, or set trainer.resume=null"
            ) from None
    optimizer.load_state_dict({"state": optimizer_state["state"], "param_groups": own})
    return position.step


def _read(path: Path) -> tuple[Position, dict[str, Any], dict[str, Any]]:
    """Return position, weights by model, and the optimizer's state."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return Position(**state["position"]), state["models"], state["optimizer"]
    except Exception as error:  # the reader raises what it likes for a file of another kind
        raise InputError(
            f"{path} is not a training checkpoint of this project ({type(error).__name__}); set "
            "trainer.resume=null to begin anew"
        ) from error
