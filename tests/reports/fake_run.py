"""A plausible run of the default suite, made up: ten cells of 64 frames, not all of which succeeded."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import journal
from bench.records import (
    AxisValue,
    Cell,
    Environment,
    FrameQuality,
    Memory,
    Record,
    Run,
    Sample,
    Status,
)

FRAMES = 64
PATCHES = 265
UNTRAINED = "untrained weights: quality figures are meaningless"
REPEATED = "the last frame is repeated to fill the last chunk"

KEPT = {
    "ratio_0.10": 0.098,
    "ratio_0.25": 0.249,
    "ratio_0.50": 0.498,
    "ratio_0.75": 0.747,
    "ratio_0.75_task_0.70": 0.053,
    "task_0.70": 0.068,
    "ratio_1.00": 1.0,
}
PLAN = (*((setting, 16) for setting in KEPT), ("ratio_0.25", 2), ("ratio_0.25", 4), ("ratio_0.25", 8))


def cell(setting: str, chunk: int, workload: str = "end_to_end", **axes: AxisValue) -> Cell:
    """Return a cell of the default suite."""
    fixed: dict[str, AxisValue] = {"dtype": "float32", "attention": "sdpa", "batch": 1}
    return Cell(workload=workload, axes={"setting": setting, "chunk": chunk, **fixed, **axes})


def ok_record(
    which: Cell, speed: float = 1.0, notes: Sequence[str] = (UNTRAINED,), cuda: bool = False
) -> Record:
    """Return a record of a cell that succeeded, ``speed`` times as fast as the usual machine."""
    setting, chunk = str(which.axes["setting"]), int(which.axes["chunk"] or 16)
    random = np.random.default_rng(sum(map(ord, which.key)))
    frames = _frames(setting, chunk, random)
    selected = sum(frame.gazes for frame in frames)
    steps = sum(-(-frame.gazes // 10) for frame in frames)
    samples = [Sample(index=0, stage="setup", seconds=1.9, warmup=True)]
    for index, warmup in ((0, True), *((index, False) for index in range(5))):
        samples += _samples(index, warmup, steps, selected, speed * random.uniform(0.9, 1.1), cuda)
    quality = {
        name: float(np.mean([getattr(frame, name) for frame in frames]))
        for name in ("loss", "mae", "mse", "psnr", "ssim")
    }
    return Record(
        cell=which,
        status=Status.OK,
        notes=tuple(notes),
        samples=tuple(samples),
        counters={
            "clips": FRAMES // chunk,
            "frames": FRAMES,
            "candidate_patches": FRAMES * PATCHES,
            "selected_patches": selected,
            "padded_patches": 40 if "task" in setting else 0,
            "decode_steps": steps,
            "flops": 2.1e9 * FRAMES + 4e6 * selected,
        },
        frames=frames,
        quality=quality | {"kept_ratio": selected / (FRAMES * PATCHES)},
        patch_hash="0123456789abcdef",
        memory=_memory(cuda),
        energy_joules=38.2 if cuda else None,
        started="2026-03-01T12:00:00+00:00",
        elapsed_seconds=12.5,
    )


def _memory(cuda: bool) -> Memory:
    return Memory(
        resident_peak=712 * 2**20,
        device_allocated_peak=1432 * 2**20 if cuda else None,
        device_reserved_peak=1600 * 2**20 if cuda else None,
    )


def _frames(setting: str, chunk: int, random: np.random.Generator) -> tuple[FrameQuality, ...]:
    base = 20 + 9 * KEPT[setting] ** 0.4
    frames = []
    for clip, frame in np.ndindex(FRAMES // chunk, chunk):
        psnr = base - 3.0 * (frame == 0) + 0.8 * float(np.sin(frame / 2)) + 0.2 * float(random.normal())
        frames.append(
            FrameQuality(
                clip=clip,
                frame=frame,
                gazes=_gazes(setting, frame, random),
                loss=1.6 - 0.09 * (psnr - 20),
                mae=10 ** (-psnr / 20) * 0.6,
                mse=10 ** (-psnr / 10),
                psnr=psnr,
                ssim=1 - 2.2 * 10 ** (-psnr / 20),
            )
        )
    return tuple(frames)


def _gazes(setting: str, frame: int, random: np.random.Generator) -> int:
    """A budget is used up in every frame; a requirement takes most of its patches from the first."""
    if "task" not in setting:
        return int(PATCHES * float(setting.removeprefix("ratio_")))
    share = KEPT[setting] * (6.0 if frame == 0 else 0.67)
    return max(1, round(share * PATCHES * random.uniform(0.8, 1.2)))


def _samples(index: int, warmup: bool, steps: int, selected: int, speed: float, cuda: bool) -> list[Sample]:
    vision, prefill, step = 0.12 / speed, 0.35 / speed, 0.0022 * steps / speed
    gaze, reconstruct = vision + prefill + step + 0.01, (0.9 + 4e-5 * selected) / speed
    times = {
        "end_to_end": 0.11 + gaze + reconstruct,
        "decode": 0.05,
        "preprocess": 0.04,
        "gaze": gaze,
        "gaze.vision": vision,
        "gaze.prefill": prefill,
        "gaze.steps": step,
        "reconstruct": reconstruct,
    }
    return [
        Sample(
            index=index,
            stage=stage,
            seconds=seconds * (0.3 if cuda and "." in stage else 1.0),
            device_seconds=0.98 * seconds if cuda else None,
            warmup=warmup,
        )
        for stage, seconds in times.items()
    ]


def run_of(
    cells: Sequence[Cell],
    device: str = "AMD EPYC 9B45",
    run_id: str = "20260301T120000Z-default-cpu-1a2b",
    environment: dict[str, AxisValue] | None = None,
) -> Run:
    """Return the head of a run that plans ``cells``."""
    usual: dict[str, AxisValue] = {
        "device": "cpu",
        "device.name": device,
        "cpu.model": "AMD EPYC 9B45",
        "cpu.threads": 2,
        "torch.version": "2.13.0",
        "gpu.driver": None,
        "git.commit": "0" * 40,
    }
    return Run(
        id=run_id,
        created="2026-03-01T12:00:00+00:00",
        suite="default",
        suite_version=1,
        command=("python", "-m", "bench", "run", "--suite", "default"),
        settings={"video": None, "checkpoint": None, "seed": 0},
        environment=Environment(fields=usual | (environment or {})),
        cells=tuple(cells),
    )


def usual_records() -> list[Record]:
    """Return the records of all cells but the last: seven are ok, one was too large, one is invalid."""
    cells = [cell(setting, chunk) for setting, chunk in PLAN]
    records = [ok_record(which) for which in cells[:-1]]
    records[6] = Record(
        cell=cells[6],
        status=Status.OUT_OF_MEMORY,
        reason="killed, probably out of memory",
        notes=(UNTRAINED,),
    )
    records[8] = records[8].model_copy(
        update={
            "status": Status.INVALID,
            "reason": "the clock of the device changed by 40 % between repetitions",
            "notes": (UNTRAINED, REPEATED),
        }
    )
    return records


def write_run(parent: Path, run: Run, records: Sequence[Record]) -> Path:
    """Write a run folder as the bench does; return it."""
    folder = journal.create(run, parent)
    with journal.appending(folder) as append:
        for record in records:
            append(record)
    return folder


def usual_run(parent: Path) -> Path:
    """Write the run that most tests read: its last cell was not reached."""
    return write_run(parent, run_of([cell(setting, chunk) for setting, chunk in PLAN]), usual_records())
