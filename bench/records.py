"""The record: what one cell of a run asked for, what happened, and every sample that was taken.

A run is a folder. ``run.json`` holds a :class:`Run`; ``journal.jsonl`` holds one :class:`Record` a line,
appended and flushed as each cell finishes, and is the single source of truth: the parquet and CSV files and
all reports are drawn from it. Every time is in seconds, every size in bytes.

The schema has a version. A file of an older version is migrated when read; one of a newer version is refused.
"""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

WHOLE = "end_to_end"
"""The stage that is the whole of a workload's ``run``."""


OURS = "ours"
"""The stage that is the same work done by this project, in turns with a peer's; it lies outside the whole."""


ARRAYS = "arrays"
"""The detail of a record that names the file of its arrays, relative to the run's folder."""

ARRAYS_FOLDER = "arrays"
"""Where in a run's folder such files lie."""


TRACE = "profile.trace"
"""The detail of a record that names the profiler's trace of it, relative to the run's folder."""

TRACES_FOLDER = "traces"
"""Where in a run's folder such files lie."""


CPU_OTHERS = "cpu.others"
"""The detail of a record that says what share of the CPUs other programs had while it was timed, 0 to 1."""

BUSY = 0.1
"""Share of the CPUs that others may use before a reader is told."""


SCHEMA_VERSION = 3

AxisValue = str | int | float | bool | None


class Status(StrEnum):
    """What became of a cell. Only ``ok`` cells take part in comparisons."""

    OK = "ok"
    OUT_OF_MEMORY = "out_of_memory"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    FAILED = "failed"
    INVALID = "invalid"
    """Measured, but not to be trusted; the reason says why."""


class _Frozen(BaseModel):
    # An infinite PSNR (identical pictures) must survive the journal, and JSON has no number for it.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Cell(_Frozen):
    """One point of a suite: a workload and a value for each of its axes."""

    workload: str
    axes: dict[str, AxisValue]

    @property
    def key(self) -> str:
        """A readable name, equal for equal cells: ``end_to_end[setting=ratio_0.25,chunk=16]``."""
        return f"{self.workload}[{','.join(f'{name}={self.axes[name]}' for name in sorted(self.axes))}]"


class Sample(_Frozen):
    """The time one stage took in one repetition of the workload."""

    index: int
    """Repetition, from 0; warm-up repetitions have an index space of their own."""
    stage: str
    """Dotted stage name; a child's time lies inside its parent's (``gaze.steps`` in ``gaze``)."""
    seconds: float
    """Wall-clock time, synchronised with the device where the stage is a top-level one."""
    cpu_seconds: float | None = None
    """Processor time of the measuring process, user and system, all threads; of top-level stages alone."""
    device_seconds: float | None = None
    """Time between device events, where the device has them."""
    instructions: int | None = None
    """Instructions of the measuring process in user mode, all threads; of top-level stages alone, where the
    kernel lets a process count them (``make doctor`` says)."""
    warmup: bool = False
    telemetry: dict[str, float | str] = Field(default_factory=dict)
    """Clock (MHz), power (W), temperature (C), throttle reasons, read right after the repetition."""


class FrameQuality(_Frozen):
    """Reconstruction quality and gaze count of one frame, from a timed repetition's output."""

    clip: int
    frame: int
    gazes: int
    loss: float | None = None
    mae: float | None = None
    mse: float | None = None
    psnr: float | None = None
    ssim: float | None = None


class Memory(_Frozen):
    """Peaks over the timed repetitions, in bytes; None where the device has no such count."""

    resident_peak: int | None = None
    device_allocated_peak: int | None = None
    device_reserved_peak: int | None = None


class Record(_Frozen):
    """One cell's outcome."""

    cell: Cell
    status: Status
    reason: str | None = None
    """Why the status is not ``ok``: one sentence."""
    notes: tuple[str, ...] = ()
    """Caveats to see beside the figures: untrained weights, repeated last frame, too few samples."""
    samples: tuple[Sample, ...] = ()
    counters: dict[str, float] = Field(default_factory=dict)
    """Work of one repetition: clips, frames, candidate_patches, selected_patches, padded_patches,
    decode_steps, flops, bytes."""
    frames: tuple[FrameQuality, ...] = ()
    quality: dict[str, float] = Field(default_factory=dict)
    """Means over frames: loss, mae, mse, psnr, ssim; kept_ratio; agreement with float32 ``eager``."""
    patch_hash: str | None = None
    """Names the patches chosen in the timed repetitions; None, and a note, where they differed."""
    memory: Memory = Memory()
    energy_joules: float | None = None
    """Energy of one repetition, mean over the timed ones, where a meter can be read."""
    details: dict[str, Any] = Field(default_factory=dict)
    """What really ran: attention kernel, engine, autotuned configurations, stderr of a crash."""
    started: str = ""
    """UTC, ISO 8601."""
    elapsed_seconds: float = 0.0
    """The child process from start to end, import and warm-up included."""


class Environment(_Frozen):
    """Enough to decide whether two runs may be compared; flat: ``gpu.name``, ``torch.version`` ..."""

    fields: dict[str, AxisValue]


class Run(_Frozen):
    """The head of a run, written before the first cell."""

    schema_version: int = SCHEMA_VERSION
    id: str
    created: str
    suite: str
    suite_version: int
    command: tuple[str, ...]
    settings: dict[str, AxisValue] = Field(default_factory=dict)
    """Video, checkpoint, samples and the like, as given."""
    environment: Environment
    cells: tuple[Cell, ...]
    """The plan: every cell that the run means to measure, in order."""
