"""Timings on a device: stages of a clip by its events, and traces with the gap before each launch."""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from autogaze.models.autogaze.engines import ENGINES
from autogaze.stages import observed_by
from bench.first_contact.decode import Call, Steps, inputs
from bench.first_contact.item import NotHere, Settings
from bench.first_contact.patches import clip, model_on
from bench.meters.activity import activities, busy_seconds, by_name, by_place, launches, operations, span_of
from bench.meters.clocks import StageClock, device_clock
from bench.meters.profiler import watched, write_trace

_WHOLE = "whole"
_MICRO = 1e6


def summary(seconds: list[float]) -> dict[str, Any]:
    """Return median and extremes of times, in microseconds."""
    found = {"median": statistics.median(seconds), "least": min(seconds), "most": max(seconds)}
    return {f"us.{name}": round(_MICRO * value, 3) for name, value in found.items()} | {"count": len(seconds)}


def time_step(
    call: Call, device: str, dtype: str, batch: int, cached: int, calls: int, rounds: int
) -> dict[str, Any]:
    """Return the time of a step among ``calls`` that are captured together where there are graphs."""
    steps = Steps(call, device, inputs(device, dtype, batch, cached), calls)
    steps.run()
    return {**summary(steps.seconds(rounds)), "captured": device.startswith("cuda"), "calls": calls}


def time_stages(
    settings: Settings, engine: str, dtype: str, ratio: float, frames: int, rounds: int
) -> dict[str, Any]:
    """Return medians of every stage of choosing the patches of a clip, by wall clock and by device events,
    in milliseconds; of prefill also for a frame, and of the steps for a step."""
    run = _choosing(settings, engine, dtype, ratio, frames)
    run()
    walls: dict[str, list[float]] = {}
    devices: dict[str, list[float]] = {}
    steps = 0
    for _ in range(rounds):
        clock = StageClock(device_clock(settings.device))
        with observed_by(clock), clock.stage(_WHOLE):
            run()
        for name, taken in clock.times().items():
            walls.setdefault(name, []).append(1e3 * taken.seconds)
            if taken.device_seconds is not None:
                devices.setdefault(name, []).append(1e3 * taken.device_seconds)
        steps = clock.counters.get("decode_steps", 0)
    found: dict[str, Any] = {"decode_steps": steps, "frames": frames, "rounds": rounds}
    for kind, times in (("ms", walls), ("device_ms", devices)):
        found |= {f"{kind}.{name}": round(statistics.median(each), 4) for name, each in times.items()}
    best = {name: found.get(f"device_ms.{name}", found.get(f"ms.{name}")) for name in walls}
    if steps and (taken_ms := best.get("gaze.steps")) is not None:
        found["us.step"] = round(1e3 * taken_ms / steps, 3)
    if (taken_ms := best.get("gaze.prefill")) is not None:
        found["us.prefill_per_frame"] = round(1e3 * taken_ms / frames, 3)
    return found


def _choosing(settings: Settings, engine: str, dtype: str, ratio: float, frames: int) -> Callable[[], object]:
    model = model_on(settings.device, dtype)
    kind = getattr(torch, dtype)
    obstacle = ENGINES[engine].obstacle(model.arch, torch.device(settings.device), kind)
    if obstacle is not None:
        raise NotHere(f"engine {engine} {obstacle}")
    video = clip(settings.video, frames).to(settings.device, kind)

    def run() -> object:
        model.engine = engine
        with torch.inference_mode():
            return model({"video": video}, gazing_ratio=ratio, generate_only=True)

    return run


def trace_steps(
    settings: Settings, form: str, call: Call, dtype: str, cached: int, calls: int
) -> dict[str, Any]:
    """Return, of steps that are one launch, each kernel of a step in order: what it takes, and the gap before
    it."""
    steps = Steps(call, settings.device, inputs(settings.device, dtype, 1, cached), calls)
    steps.run()
    steps.renew()
    trace = watched(steps.run, settings.device, _WHOLE)
    done = activities(trace["traceEvents"])
    found = _kept(settings, f"step-{form}-{dtype}", trace)
    try:
        return {**found, "kernels": by_place(done, calls)} if done else found
    except ValueError as differ:
        return {**found, "kernels_differ": str(differ), "kernels": by_name(done)}


def trace_clip(settings: Settings, engine: str, dtype: str, ratio: float, frames: int) -> dict[str, Any]:
    """Return, of choosing the patches of a clip, each kind of kernel: how many, what they take, and the gaps
    before them."""
    run = _choosing(settings, engine, dtype, ratio, frames)
    run()
    trace = watched(run, settings.device, _WHOLE)
    found = _kept(settings, f"clip-{engine}-{dtype}", trace)
    return {**found, "frames": frames, "kernels": by_name(activities(trace["traceEvents"]))}


def _kept(settings: Settings, name: str, trace: dict[str, Any]) -> dict[str, Any]:
    """Write a trace, where there is a folder for it; return what it says of the whole."""
    events = trace["traceEvents"]
    done, wall = activities(events), span_of(events, _WHOLE)
    found: dict[str, Any] = {"operations": operations(events), "launches": launches(events)}
    if wall is not None:
        found["us.wall"] = round(_MICRO * wall, 3)
    if done:
        busy = busy_seconds(done)
        found |= {"us.busy": round(_MICRO * busy, 3), "busy_share": busy / wall if wall else None}
    if settings.traces is not None:
        path = Path(settings.traces, f"{name}.json.gz")
        write_trace(trace, path)
        found["trace"] = path.name
    return found
