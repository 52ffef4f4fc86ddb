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
    clips = FRAMES // chunk
    requirement = "task" in setting
    gazes = [
        [
            max(1, round(KEPT[setting] * PATCHES * (6.0 if frame == 0 else 0.67) * random.uniform(0.8, 1.2)))
            if requirement
            else int(PATCHES * float(setting.removeprefix("ratio_")))
            for frame in range(chunk)
        ]
        for _ in range(clips)
    ]
    selected = sum(map(sum, gazes))
    steps = sum(-(-count // 10) for clip in gazes for count in clip)
    samples = [Sample(index=0, stage="setup", seconds=1.9, warmup=True)]
    samples += [
        sample
        for index in range(6)
        for sample in _samples(
            index - (index > 0), index == 0, steps, selected, speed * random.uniform(0.9, 1.1), cuda
        )
    ]
    base = 20 + 9 * KEPT[setting] ** 0.4
    frames = tuple(
        FrameQuality(
            clip=clip,
            frame=frame,
            gazes=gazes[clip][frame],
            loss=1.6 - 0.09 * (psnr - 20),
            mae=10 ** (-psnr / 20) * 0.6,
            mse=10 ** (-psnr / 10),
            psnr=psnr,
            ssim=1 - 2.2 * 10 ** (-psnr / 20),
        )
        for clip in range(clips)
        for frame in range(chunk)
        for psnr in [
            base - 3.0 * (frame == 0) + 0.8 * float(np.sin(frame / 2)) + 0.2 * float(random.normal())
        ]
    )
    figures = ("loss", "mae", "mse", "psnr", "ssim")
    quality = {name: float(np.mean([getattr(frame, name) for frame in frames])) for name in figures}
    return Record(
        cell=which,
        status=Status.OK,
        notes=tuple(notes),
        samples=tuple(samples),
        counters={
            "clips": clips,
            "frames": FRAMES,
            "candidate_patches": FRAMES * PATCHES,
            "selected_patches": selected,
            "padded_patches": 40 if requirement else 0,
            "decode_steps": steps,
            "flops": 2.1e9 * FRAMES + 4e6 * selected,
        },
        frames=frames,
        quality=quality | {"kept_ratio": selected / (FRAMES * PATCHES)},
        patch_hash="0123456789abcdef",
        memory=Memory(
            resident_peak=712 * 2**20,
            device_allocated_peak=1432 * 2**20 if cuda else None,
            device_reserved_peak=1600 * 2**20 if cuda else None,
        ),
        energy_joules=38.2 if cuda else None,
        started="2026-03-01T12:00:00+00:00",
        elapsed_seconds=12.5,
    )


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
    """Return the records of the whole plan but its last cell: seven are ok, one was too large, one crashed."""
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
