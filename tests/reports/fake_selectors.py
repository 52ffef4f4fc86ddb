"""A run of the suite ``quality``, made up: selectors on clips of different difficulty."""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.records import AxisValue, Cell, FrameQuality, Record, Status
from tests.reports.fake_suites import record, refused

CLIPS, FEWER, FRAMES, PATCHES = 6, 4, 4, 265
ADVANTAGE = {"gaze": 0.0, "random": 0.04, "laplacian": 0.0, "greedy": -0.02}
"""Reconstruction loss that a selector adds to that of the gaze model."""
BUDGETS = (0.05, 0.1, 0.25)
NO_LPIPS = "LPIPS needs the package lpips, which is not installed here: pip install 'autogaze-bench[lpips]'"


def quality_cell(selector: str = "gaze", setting: str = "ratio_0.10", **axes: AxisValue) -> Cell:
    usual: dict[str, AxisValue] = {
        "selector": selector,
        "source": "video",
        "clips": CLIPS,
        "positions": "released",
        "judge": "pixels",
        "setting": setting,
        "chunk": FRAMES,
        "dtype": "float32",
        "attention": "sdpa",
        "engine": "auto",
    }
    return Cell(workload="quality", axes=usual | axes)


def quality_record(cell: Cell, loss: float, kept: float, **fields: object) -> Record:
    """Return a record whose clips differ much in loss, by how hard they are, and little by anything else."""
    random = np.random.default_rng(sum(map(ord, cell.key)))
    frames = tuple(
        FrameQuality(
            clip=clip,
            frame=frame,
            gazes=round(kept * PATCHES),
            loss=loss + 0.1 * clip + float(random.normal(0, 0.002)),
            mae=0.03,
            mse=0.002,
            psnr=26 - 10 * loss - clip,
            ssim=0.9 - 0.2 * loss,
        )
        for clip, frame in np.ndindex(int(cell.axes["clips"] or 0), FRAMES)
    )
    figures: Mapping[str, float] = {
        "loss": float(np.mean([frame.loss for frame in frames])),
        "psnr": float(np.mean([frame.psnr for frame in frames])),
        "ssim": 0.9 - 0.2 * loss,
        "mae": 0.03,
        "kept_ratio": kept,
        "overlap": min(1.0, 0.2 + kept),
        "exhausted": float("ratio" in str(cell.axes["setting"])),
    }
    work = {"clips": len(frames) / FRAMES, "frames": len(frames), "selected_patches": kept * PATCHES}
    usual: dict[str, object] = {"frames": frames, "quality": figures, "counters": work}
    return record(cell, 1.0, {"gaze": 0.6, "reconstruct": 0.4}, **{**usual, **fields})


def with_losses(made: Record, losses: Sequence[float]) -> Record:
    """Return the record with these losses, one a clip, the same in each of its frames."""
    frames = (frame.model_copy(update={"loss": losses[frame.clip]}) for frame in made.frames)
    return made.model_copy(update={"frames": tuple(frames)})


def quality_records() -> list[Record]:
    """The gaze model beats random everywhere, loses to the greedy search, is as good as Laplacian energy, and
    stops a little late; a judge is missing."""
    records = []
    for selector, more in ADVANTAGE.items():
        for source in ("video", "synthetic:held_out"):
            for budget in BUDGETS:
                clips = FEWER if selector == "greedy" else CLIPS
                cell = quality_cell(selector, f"ratio_{budget:.2f}", source=source, clips=clips)
                records.append(quality_record(cell, 0.5 - 0.8 * budget + more, budget))
    for asked in (0.3, 0.4, 0.6, 0.8):
        cell = quality_cell(setting=f"task_{asked:.2f}")
        records.append(quality_record(cell, asked - 0.27, 0.1 / asked))
    sequential = quality_cell(setting="ratio_0.10", positions="sequential")
    records.append(quality_record(sequential, 0.5 - 0.08 + 0.01, 0.1))
    return [*records, refused(quality_cell(judge="lpips"), NO_LPIPS, Status.UNSUPPORTED)]
