"""``make evaluate``: the published reconstruction evaluation, with its arguments, settings and files."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autogaze.errors import InputError
from autogaze.stages import observed_by
from bench.meters.clocks import StageClock, device_clock
from suites.evaluation import Evaluated, evaluate
from suites.pipeline import Pipeline
from suites.workload import Inputs


@dataclass(frozen=True)
class Request:
    """The published evaluator's arguments."""

    video: Path | None
    output_dir: Path
    inputs: Inputs
    attn_mode: str = "sdpa"
    clip_len: int = 16
    clip_starts: tuple[int, ...] = ()
    max_clips: int = 4
    viz_clips: int = 1


def parse_starts(text: str) -> tuple[int, ...]:
    """Read ``--clip-starts``: frame numbers joined by commas."""
    try:
        starts = tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(
            f"clip starts '{text}' must be frame numbers joined by commas, such as 0,16,32"
        ) from None
    if any(start < 0 for start in starts):
        raise InputError(f"clip starts '{text}' must not be negative")
    return starts


def run(request: Request, on_result: Callable[[Evaluated, float, float], None]) -> list[Path]:
    """Evaluate and write every file; ``on_result`` hears of each clip and setting with its two times in
    seconds."""
    from reports.evaluation import write_evaluation

    pipeline = Pipeline(request.inputs, "float32", request.attn_mode, reconstructs=True)
    clock = device_clock(request.inputs.device)
    taken = StageClock(clock)

    @contextmanager
    def timed() -> Iterator[None]:
        nonlocal taken
        taken = StageClock(clock)
        with observed_by(taken):
            yield

    clips, frames, metadata, pictures = [], [], [], []
    for evaluated in evaluate(
        pipeline, request.video, request.clip_len, request.clip_starts, request.max_clips, timed
    ):
        times = taken.times()
        gaze_seconds, reconstruction_seconds = times["gaze"].seconds, times["reconstruct"].seconds
        clips.append(_clip_row(evaluated, gaze_seconds, reconstruction_seconds))
        frames += _frame_rows(evaluated)
        metadata.append(_metadata(evaluated, pipeline))
        if evaluated.clip < request.viz_clips:
            pictures.append(_visualize(request.output_dir / "visualizations", evaluated, pipeline.notes))
        on_result(evaluated, gaze_seconds, reconstruction_seconds)
    return write_evaluation(request.output_dir, metadata, clips, frames, pipeline.notes) + pictures


def _clip_row(evaluated: Evaluated, gaze_seconds: float, reconstruction_seconds: float) -> dict[str, Any]:
    gaze, setting, rows = evaluated.result.gaze, evaluated.setting, evaluated.frames
    gazes = [int(row["gazes"]) for row in rows]
    return {
        "clip_name": evaluated.clip_name,
        "clip_start": evaluated.start,
        "setting": setting.name,
        "gazing_ratio_arg": setting.gazing_ratio,
        "task_loss_requirement_arg": setting.task_loss_requirement,
        "non_padded_gazes": sum(gazes),
        "actual_gaze_ratio": sum(gazes) / (len(rows) * gaze.num_vision_tokens_each_frame),
        "reconstruction_loss": _mean(rows, "loss"),
        "pixel_mae": _mean(rows, "mae"),
        "pixel_mse": _mean(rows, "mse"),
        "psnr": _mean(rows, "psnr"),
        "ssim": _mean(rows, "ssim"),
        "gaze_seconds": gaze_seconds,
        "reconstruction_seconds": reconstruction_seconds,
        "non_padded_gazes_by_frame": json.dumps(gazes),
        "num_gazing_each_frame": json.dumps(gaze.num_gazing_each_frame.tolist()),
    }


def _frame_rows(evaluated: Evaluated) -> list[dict[str, Any]]:
    return [
        {
            "clip_name": evaluated.clip_name,
            "clip_start": evaluated.start,
            "setting": evaluated.setting.name,
            "frame_idx": index,
            "reconstruction_loss": row["loss"],
            "non_padded_gazes": int(row["gazes"]),
            "pixel_mae": row["mae"],
            "pixel_mse": row["mse"],
            "psnr": row["psnr"],
            "ssim": row["ssim"],
        }
        for index, row in enumerate(evaluated.frames)
    ]


def _metadata(evaluated: Evaluated, pipeline: Pipeline) -> dict[str, Any]:
    gaze = evaluated.result.gaze
    requirement = gaze.task_loss_requirement
    return {
        "clip_name": evaluated.clip_name,
        "setting": evaluated.setting.name,
        "gaze_outputs": {
            "scales": gaze.scales,
            "num_vision_tokens_each_frame": gaze.num_vision_tokens_each_frame,
            "task_loss_requirement": None if requirement is None else requirement.tolist(),
        },
        "patch_hash": gaze.patch_hash(),
        "notes": pipeline.notes,
        "details": pipeline.details,
    }


def _visualize(folder: Path, evaluated: Evaluated, notes: Sequence[str]) -> Path:
    from autogaze.video.preprocessing import unnormalize
    from reports.evaluation import write_visualization

    result = evaluated.result
    assert result.reconstruction is not None
    path = folder / f"{evaluated.clip_name}_{evaluated.setting.name}.png"
    write_visualization(
        path,
        " | ".join([evaluated.clip_name, evaluated.setting.name, *notes]),
        unnormalize(result.video[0]).cpu().numpy(),
        unnormalize(result.reconstruction["reconstruction"][0]).cpu().numpy(),
        [mask[0].cpu().numpy() for mask in result.gaze.gazing_mask],
        result.gaze.scales,
    )
    return path


def _mean(rows: list[dict[str, float]], name: str) -> float:
    return sum(row[name] for row in rows) / len(rows)
