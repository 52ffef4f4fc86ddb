"""Workload: the protocol between a suite and the measuring process."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from suites.outlook import Outlook

AxisValue = str | int | float | bool | None


@dataclass(frozen=True)
class Axis:
    """One dimension of a workload: its default and what it accepts."""

    default: AxisValue
    known: tuple[AxisValue, ...] = ()
    """Values accepted; empty where :attr:`check` decides."""
    check: Any = None
    """Called with the value; returns its canonical form; raises ``InputError`` where it has none."""
    needs: Mapping[AxisValue, str] = field(default_factory=dict)
    """Values that take an input of the run which not every run has, by that field of :class:`Inputs`: a suite
    leaves them out where it is not given, and who asks for one by name is told."""
    preload: Mapping[AxisValue, tuple[str, ...]] = field(default_factory=dict)
    """Modules that a value needs besides those of :attr:`Workload.preload`."""


@dataclass(frozen=True)
class Inputs:
    """What is the same for every cell of a run; plain values, so that they can be sent to another process."""

    device: str = "cpu"
    """A torch device, ``cpu`` or ``cuda:0``."""
    video: str | None = None
    """Path of a video file; None for the embedded clip."""
    checkpoint: str | None = None
    """Folder or hub id of the gaze model; None for the embedded weights."""
    task_checkpoint: str | None = None
    """Folder or hub id of the reconstructor; None for the embedded weights."""
    revision: str | None = None
    """Revision of a gaze model from the hub; None for the pinned one."""
    task_revision: str | None = None
    """The same for the reconstructor."""
    geometry: Literal["square", "center_crop"] = "square"
    """How a video that is not square becomes so; the gaze model and the reconstructor see the same
    picture."""
    seed: int = 0
    pictured_clips: int = 0
    """Clips of an evaluation, from the first on, whose pictures are kept in the run's folder."""
    upstream: str | None = None
    """Folder of a checkout of the released code, to be held against ours; None for no such peer."""
    upstream_python: str | None = None
    """The interpreter that runs it; None for the one that runs this."""


@dataclass
class Quality:
    """What the outputs of one timed repetition are worth; all numbers from that repetition itself."""

    patch_hash: str
    frames: list[dict[str, float]] = field(default_factory=list)
    """One entry a frame: clip, frame, gazes; loss, mae, mse, psnr, ssim where there is a reconstruction."""
    counters: dict[str, float] = field(default_factory=dict)
    """Work of the repetition: clips, frames, candidate_patches, selected_patches, padded_patches ..."""
    figures: dict[str, float] = field(default_factory=dict)
    """Figures of quality that are no mean over frames: ``agreement`` ..."""
    details: dict[str, Any] = field(default_factory=dict)
    """What else the outputs say, as JSON can hold it: slots of each frame ..."""
    arrays: Mapping[str, Any] = field(default_factory=dict)
    """Arrays of numpy by name that are kept in the run's folder, for pictures to be drawn from."""


class Workload(Protocol):
    """One cell's work. Built and run in a process of its own; nothing outside :meth:`run` is timed.

    The constructor takes the axis values and the run's inputs, loads weights and data and moves them to the
    device; it raises ``InputError`` for values that do not fit together and ``BackendUnavailable`` for what
    cannot run here.
    """

    axes: ClassVar[Mapping[str, Axis]]
    preload: ClassVar[Sequence[str]]
    """Modules that its methods import: a process that many cells are forked from imports them once."""
    notes: list[str]
    """Caveats to print beside the figures."""
    details: dict[str, Any]
    """What really runs: weights hash, attention kernel, engine."""

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None: ...

    def run(self) -> Any:
        """Do the work once, its stages marked with :func:`autogaze.stages.stage`; return the outputs.

        The whole of it is timed as stage ``end_to_end``; it does not mark that itself.
        """

    def quality(self, output: Any) -> Quality:
        """Judge the outputs of a repetition; called after its time was taken."""


@runtime_checkable
class Renewing(Protocol):
    """A workload whose work uses its inputs up."""

    def renew(self) -> None:
        """Make the inputs what they were; called before each repetition, and not timed."""


@runtime_checkable
class Doubting(Protocol):
    """A workload that knows what its device cannot do."""

    def impossible(self, seconds: Sequence[float]) -> str | None:
        """Say why these times of repetitions cannot be true, and make the cell ``invalid``; None where they
        can."""


@runtime_checkable
class Particular(Protocol):
    """A workload that knows of inputs it cannot be measured with, before anything is measured."""

    @classmethod
    def check(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        """Raise ``InputError`` for inputs that do not do for this cell; cheap when asked again."""


@runtime_checkable
class Selective(Protocol):
    """A workload of whose axis values some mean nothing together."""

    @classmethod
    def makes_sense(cls, axes: Mapping[str, AxisValue], typed: Collection[str]) -> bool:
        """Tell whether a cell says anything; a suite leaves out those that do not, and counts them.

        ``typed`` names the axes whose values came from the command line: who types a value wants it.
        """


@runtime_checkable
class Sharing(Protocol):
    """A workload whose cells are measured one after another in the same process where they follow each other:
    what the first has loaded serves the next.

    For many short cells that are there for their figures of quality. What one leaves behind, such as memory,
    is there when the next is measured.
    """

    shares_process: ClassVar[bool]


@runtime_checkable
class Foreseeing(Protocol):
    """A workload that can say what a cell needs, and whether it can run here, before it is started."""

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return the outlook of a cell; called in a process of its own, which may import torch and loads no
        weights."""


class Peer(Protocol):
    """Another program, in a process of its own, that does a workload's work."""

    @property
    def pid(self) -> int:
        """Its process, whose CPU time is the workload's and not that of strangers."""

    def forget_peaks(self) -> None:
        """Begin to look for the peaks of its memory anew."""

    def peaks(self) -> Mapping[str, int]:
        """Return the peaks of its memory in bytes, by field of :class:`bench.records.Memory`."""


@runtime_checkable
class Paired(Protocol):
    """A workload that a peer may do. It is then also done by this project, in turns within each repetition:
    what slows the machine for a while slows both, and their ratio stays."""

    @property
    def peer(self) -> Peer | None:
        """Whoever does :meth:`Workload.run`; None where that is this project itself."""

    def run_ours(self) -> Any:
        """Do the same work with this project's own means; return the outputs."""
