"""Gaze budgets: from the caller's ratio and requirement, or drawn by the strategies of the config."""

import math
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
    """Draw one gazing ratio for a whole video: ``fixed``, ``uniform`` or (truncated) ``exponential``.

    Raises ``InputError`` for values that are no ratios.
    """
    group = "gazing_ratio_config"
    strategy, values = _strategy(config.gazing_ratio_config, training, group)
    key = f"{group}.{strategy}"
    if strategy == "fixed":
        return _number(values, f"{key}.gazing_ratio", 0, 1)
    if strategy not in ("uniform", "exponential"):
        raise unknown_name(f"strategy of {group}", strategy, ["fixed", "uniform", "exponential"])
    low, high = _range(values, key, "gazing_ratio", 1)
    if strategy == "uniform":
        return low + (high - low) * torch.rand(()).item()
    return exponential_ratio(low, high, _number(values, f"{key}.lambda", 1e-3, 1e6))


def exponential_ratio(low: float, high: float, rate: float) -> float:
    """Draw from an exponential distribution restricted to [low, high], as if until a number falls inside."""
    # Inverse of the distribution function.
    below, above = -torch.expm1(torch.tensor([-rate * low, -rate * high], dtype=torch.float64))
    return float(-torch.log1p(-(below + (above - below) * torch.rand((), dtype=torch.float64))) / rate)


def draw_ratios(
    config: AutoGazeConfig, training: bool, mean: float, frames: int, rollout: Callable[[Tensor], Tensor]
) -> Tensor:
    """Split a video's ratio over its frames: ``uniform``, ``dirichlet``, or as the model itself does
    (``self``).

    ``rollout`` takes (frames,) ratios as caps and returns the (frames,) ratios the model chose under a
    requirement that was drawn from the config. Raises ``InputError`` for weights that are none, or not one
    for each frame.
    """
    group = "gazing_ratio_each_frame_config"
    strategy, values = _strategy(config.gazing_ratio_each_frame_config, training, group)
    equal = torch.full((frames,), mean)
    if strategy == "uniform":
        return equal
    if strategy == "dirichlet":
        return dirichlet_ratios(_weights(values, f"{group}.dirichlet.alpha", frames), mean)
    if strategy == "self":
        return rollout(equal)
    raise unknown_name(f"strategy of {group}", strategy, ["uniform", "dirichlet", "self"])


def dirichlet_ratios(weights: Tensor, mean: float) -> Tensor:
    """Split a video's ratio at random over its frames, in the mean by their (frames,) weights."""
    shares: Tensor = torch.distributions.Dirichlet(weights).sample()
    return (shares * mean * len(weights)).clamp(0, 1)


def draw_requirement(config: AutoGazeConfig, training: bool) -> float:
    """Draw a requirement for a whole batch: ``fixed`` or ``uniform``; raises ``InputError`` for values that
    are no losses."""
    group = "task_loss_requirement_config"
    strategy, values = _strategy(config.task_loss_requirement_config, training, group)
    key = f"{group}.{strategy}"
    if strategy == "fixed":
        return _number(values, f"{key}.task_loss_requirement", 0, math.inf)
    if strategy == "uniform":
        low, high = _range(values, key, "task_loss_requirement", math.inf)
        return low + (high - low) * torch.rand(()).item()
    raise unknown_name(f"strategy of {group}", strategy, ["fixed", "uniform"])


def _number(values: Any, key: str, least: float, most: float) -> float:
    """Return the number that ``values`` hold under the last part of a dotted ``key``."""
    value = values.get(key.rpartition(".")[2])
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not least <= number <= most:
        raise InputError(f"{key} is {value}: give a number from {least:g} to {most:g}")
    return number


def _range(values: Any, key: str, name: str, most: float) -> tuple[float, float]:
    low = _number(values, f"{key}.{name}_min", 0, most)
    return low, _number(values, f"{key}.{name}_max", low, most)


def _weights(values: Any, key: str, frames: int) -> Tensor:
    """Return (frames,) weights above 0 from one number for all frames, or one for each, joined by commas."""
    alpha = values.get("alpha")
    parts = alpha.split(",") if isinstance(alpha, str) else [alpha] * frames
    if len(parts) != frames:
        raise InputError(
            f"{key} has {len(parts)} values and clips have {frames} frames: give one number for all frames, "
            "or one for each, joined by commas"
        )
    return torch.tensor([_number({"alpha": part}, key, 1e-6, 1e6) for part in parts])


def _strategy(section: Any, training: bool, name: str) -> tuple[str, Any]:
    strategy = section[f"sample_strategy_during_{'training' if training else 'inference'}"]
    if strategy not in section:
        raise InputError(f"{name} asks for strategy '{strategy}' but has no section of that name")
    return strategy, section[strategy]
