"""How many patches: from the caller's ratio and requirement, or drawn by the strategies of the config."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from autogaze.errors import InputError, unknown_name
from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig

Ratio = float | Sequence[float] | Tensor
Requirement = float | Sequence[float] | Tensor


def budgets_of(ratios: Tensor, patches_per_frame: int) -> tuple[int, ...]:
    """Return the most gazes in each frame for (frames,) ratios: at least one.

    The product is taken in float32, as the released code does; in float64 some ratios would give one gaze
    less.
    """
    return tuple(max(1, int(k)) for k in (ratios.float().cpu() * patches_per_frame).long())


def as_ratios(ratio: Ratio, frames: int) -> Tensor:
    """Return (frames,) float32 ratios from one for all frames or one a frame; they must lie in [0, 1]."""
    values = torch.as_tensor(ratio, dtype=torch.float32).cpu()
    if values.dim() > 1 or (values.dim() == 1 and len(values) != frames):
        raise InputError(
            f"gazing_ratio has shape {list(values.shape)}: give one number, or one for each of {frames} "
            "frames"
        )
    outside = values[~((values >= 0) & (values <= 1))]
    if outside.numel():
        raise InputError(f"gazing_ratio {outside.flatten()[0].item():g} lies outside [0, 1]")
    return values.expand(frames)


def as_requirement(requirement: Requirement, batch: int, frames: int, device: torch.device) -> Tensor:
    """Return (batch, frames) float32 requirements from a number, one a frame, or one a video and frame."""
    values = torch.as_tensor(requirement, dtype=torch.float32, device=device)
    if tuple(values.shape) not in ((), (frames,), (batch, frames), (batch, 1), (1, frames)):
        raise InputError(
            f"task_loss_requirement has shape {list(values.shape)}: give one number, one for each of "
            f"{frames} frames, or a ({batch}, {frames}) tensor"
        )
    if values.isnan().any():
        raise InputError("task_loss_requirement is not a number (nan)")
    return values.expand(batch, frames)


def draw_ratio(config: AutoGazeConfig, training: bool) -> float:
    """Draw one gazing ratio for a whole video: ``fixed``, ``uniform`` or (truncated) ``exponential``."""
    section = config.gazing_ratio_config
    strategy, values = _strategy(section, training, "gazing_ratio_config")
    if strategy == "fixed":
        return float(values["gazing_ratio"])
    low, high = float(values["gazing_ratio_min"]), float(values["gazing_ratio_max"])
    if strategy == "uniform":
        return low + (high - low) * torch.rand(()).item()
    if strategy == "exponential":
        # Inverse of the distribution function restricted to [low, high]; the same law as drawing until one
        # falls inside.
        rate = float(values["lambda"])
        below, above = -torch.expm1(torch.tensor([-rate * low, -rate * high], dtype=torch.float64))
        return float(-torch.log1p(-(below + (above - below) * torch.rand((), dtype=torch.float64))) / rate)
    raise unknown_name("strategy of gazing_ratio_config", strategy, ["fixed", "uniform", "exponential"])


def draw_ratios(
    config: AutoGazeConfig, training: bool, mean: float, frames: int, rollout: Callable[[Tensor], Tensor]
) -> Tensor:
    """Split a video's ratio over its frames: ``uniform``, ``dirichlet``, or as the model itself does
    (``self``).

    ``rollout`` takes (frames,) ratios as caps and returns the (frames,) ratios the model chose under a
    requirement that was drawn from the config.
    """
    section = config.gazing_ratio_each_frame_config
    strategy, values = _strategy(section, training, "gazing_ratio_each_frame_config")
    equal = torch.full((frames,), mean)
    if strategy == "uniform":
        return equal
    if strategy == "dirichlet":
        alpha = values["alpha"]
        if isinstance(alpha, str):
            concentration = torch.tensor([float(a) for a in alpha.split(",")])
            if len(concentration) != frames:
                raise InputError(f"dirichlet alpha has {len(concentration)} values for {frames} frames")
        else:
            concentration = torch.full((frames,), float(alpha))
        shares = torch.distributions.Dirichlet(concentration).sample()
        return (shares * mean * frames).clamp(0, 1)
    if strategy == "self":
        return rollout(equal)
    raise unknown_name(
        "strategy of gazing_ratio_each_frame_config", strategy, ["uniform", "dirichlet", "self"]
    )


def draw_requirement(config: AutoGazeConfig, training: bool) -> float:
    """Draw a requirement for a whole batch: ``fixed`` or ``uniform``."""
    strategy, values = _strategy(
        config.task_loss_requirement_config, training, "task_loss_requirement_config"
    )
    if strategy == "fixed":
        return float(values["task_loss_requirement"])
    if strategy == "uniform":
        low, high = float(values["task_loss_requirement_min"]), float(values["task_loss_requirement_max"])
        return low + (high - low) * torch.rand(()).item()
    raise unknown_name("strategy of task_loss_requirement_config", strategy, ["fixed", "uniform"])


def _strategy(section: Any, training: bool, name: str) -> tuple[str, Any]:
    strategy = section[f"sample_strategy_during_{'training' if training else 'inference'}"]
    if strategy not in section:
        raise InputError(f"{name} asks for strategy '{strategy}' but has no section of that name")
    return strategy, section[strategy]
