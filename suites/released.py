"""The released package as a peer: its public call, on our video and our weights, beside our engines.

The package has the name of this one, so it is never imported here: a child process runs
:mod:`suites.released_worker` in the checkout, which is thereby at the head of its path. Its times are taken
in the child, around the call alone, the device synchronised at both ends.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze.child_process import ChildProcess, fate
from autogaze.errors import InputError
from suites.settings import GazeSetting
from suites.workload import Inputs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from autogaze.gaze.grid import PatchGrid
    from autogaze.models.autogaze import GazeOutput

RELEASED = "released"
"""The engine that is the released package."""

PACKAGE = "autogaze/models/autogaze"
"""Where a checkout holds what is imported."""

PATIENCE_SECONDS = 600.0
"""An answer that takes longer is given up."""

BATCH_MATES = (
    "with a requirement the released package lets the patches of a video depend on its batch: "
    "hold patches against ours at batch 1"
)
PEER_MEMORY = "memory is that of the released package's process, which holds the gaze model alone"

_WORKER = Path(__file__).with_name("released_worker.py")
_PATH_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")
"""They lead our interpreter to our packages, and the child must not find these."""
_OUT_OF_MEMORY = ("MemoryError", "OutOfMemoryError")
_FAREWELL_SECONDS = 10.0


class ReleasedPackage:
    """A child process with the released package in it; ends with :meth:`close`, or with this object.

    ``upstream`` is the folder of a checkout, ``python`` an interpreter (None: the one that runs this).
    Raises ``InputError`` for a folder that is no such checkout, an interpreter that is not there, and a
    package that it cannot import. Whatever goes wrong later is a ``ChildProcessError`` that ends with the
    last line the child printed, or a ``MemoryError``.
    """

    def __init__(self, upstream: str | None, python: str | None = None) -> None:
        checkout, program = _checkout(upstream), _interpreter(python)
        self._folder = tempfile.TemporaryDirectory(prefix="released-")
        self._child = _started(checkout, program)
        try:
            versions = self._ask("import_package")
        except ChildProcessError as error:
            self.close()
            raise InputError(
                f"the released code in {upstream} cannot be imported by {program} ({_last_words(error)}): "
                "install what it requires there, or name the interpreter that has it with UPSTREAM_PYTHON="
            ) from error
        self.details: dict[str, str] = {"released.folder": str(checkout), "released.interpreter": program}
        self.details |= {"released.commit": commit} if (commit := _commit(checkout)) else {}
        self.details |= {f"released.{name}": value for name, value in versions.items()}

    @property
    def pid(self) -> int:
        return self._child.pid

    def load(self, checkpoint: Path, device: str, dtype: str, threads: int) -> None:
        """Load the weights in a hub folder; ``threads`` are those that it computes with on a CPU."""
        facts = self._ask(
            "load", checkpoint=str(checkpoint.resolve()), device=device, dtype=dtype, threads=threads
        )
        self.details |= {f"released.{name}": value for name, value in facts.items()}

    def hand_over(self, call: int, video: "Tensor") -> None:
        """Give it the normalised video, (batch, frames, 3, height, width), of the call of that number."""
        import numpy as np

        path = Path(self._folder.name, "video.npy")
        np.save(path, video.float().cpu().numpy())
        self._ask("hand_over", call=call, path=str(path))
        path.unlink()

    def gaze(
        self, call: int, setting: GazeSetting, grid: "PatchGrid", device: "torch.device"
    ) -> "tuple[GazeOutput, float]":
        """Choose patches of a video handed over; return them, and the seconds that the choosing took."""
        # With a requirement alone the released call draws a ratio, or fails on a CPU; 1 is what it means.
        ratio = 1.0 if setting.gazing_ratio is None else setting.gazing_ratio
        asked = {"gazing_ratio": ratio}
        if setting.task_loss_requirement is not None:
            asked["task_loss_requirement"] = setting.task_loss_requirement
        path = Path(self._folder.name, "gaze.npz")
        seconds: float = self._ask("gaze", call=call, path=str(path), **asked)
        return _gaze_output(path, grid, device), seconds

    def forget_peaks(self) -> None:
        self._ask("forget_peaks")

    def peaks(self) -> Mapping[str, int]:
        found: dict[str, int] = self._ask("peaks")
        return found

    def close(self) -> None:
        """End the process and remove its files."""
        self._child.close()
        self._folder.cleanup()

    def _ask(self, command: str, **arguments: Any) -> Any:
        """Give a command and return its result."""
        self._child.send(json.dumps({"do": command, **arguments}))
        try:
            answer = json.loads(self._child.receive(time.monotonic() + PATIENCE_SECONDS))
        except TimeoutError:
            raise self._failure(
                f"the released package did not answer '{command}' within {PATIENCE_SECONDS:g} s"
            ) from None
        except (EOFError, ValueError):
            raise self._failure(f"the released package {self._fate()} at '{command}'") from None
        if "error" not in answer:
            return answer["result"]
        sentence = f"the released package failed at '{command}': {answer['error']}"
        if answer["kind"] in _OUT_OF_MEMORY:
            raise MemoryError(sentence)
        raise ChildProcessError(sentence) from RuntimeError(self._child.printed.tail())

    def _failure(self, sentence: str) -> ChildProcessError:
        """Return the error that ends with the last line the child printed, with more of it in its cause."""
        tail = self._child.printed.tail()
        error = ChildProcessError(f"{sentence}: {tail.splitlines()[-1]}" if tail else sentence)
        error.__cause__ = RuntimeError(tail)
        return error

    def _fate(self) -> str:
        try:
            return fate(self._child.exit_code(time.monotonic() + _FAREWELL_SECONDS))
        except TimeoutError:
            return "gave no answer"


@functools.cache
def check_upstream(upstream: str | None, python: str | None) -> None:
    """Raise ``InputError`` unless there is a checkout of the released code that an interpreter can import."""
    ReleasedPackage(upstream, python).close()


def load_peer(inputs: Inputs, dtype: str) -> ReleasedPackage:
    """Start the released package with the weights that our gaze model has for these inputs."""
    import torch

    from autogaze.embedded import gaze_checkpoint

    package = ReleasedPackage(inputs.upstream, inputs.upstream_python)
    folder = gaze_checkpoint(inputs.checkpoint, inputs.revision)
    package.load(folder, inputs.device, dtype, torch.get_num_threads())
    return package


def _checkout(upstream: str | None) -> Path:
    if upstream is None:
        raise InputError(
            f"engine '{RELEASED}' is the released package, and no checkout of it is named: give UPSTREAM="
        )
    folder = Path(upstream).expanduser().resolve()
    if not (folder / PACKAGE).is_dir():
        raise InputError(
            f"UPSTREAM {upstream} is not a checkout of the released code: it has no folder {PACKAGE}; "
            "name the folder that holds it"
        )
    if (folder / "suites" / _WORKER.name).exists():
        raise InputError(
            f"UPSTREAM {upstream} holds this project, which would be measured against itself: name a "
            "checkout of the released code"
        )
    return folder


def _interpreter(python: str | None) -> str:
    found = shutil.which(os.path.expanduser(python or sys.executable))
    if found is None:
        raise InputError(
            f"UPSTREAM_PYTHON {python} is not a program that can be run: name the Python interpreter that "
            "has what the released code requires"
        )
    return os.path.abspath(found)  # Not resolved: a link into a virtual environment must stay one.


def _started(checkout: Path, program: str) -> ChildProcess:
    environment = {name: value for name, value in os.environ.items() if name not in _PATH_VARIABLES}
    try:
        return ChildProcess(
            str(_WORKER), str(checkout), python=program, folder=checkout, environment=environment
        )
    except OSError as error:
        raise InputError(
            f"UPSTREAM_PYTHON {program} cannot be started ({error.strerror}): name a Python interpreter"
        ) from error


def _last_words(error: ChildProcessError) -> str:
    """Return the last line that the child printed before it failed, or else how it did."""
    tail = str(error.__cause__ or "")
    return tail.splitlines()[-1] if tail else str(error)


def _commit(checkout: Path) -> str | None:
    """Return the commit of a checkout, marked where files differ from it; None where it is no git tree of its
    own."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(checkout), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != checkout:
            return None
        return git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _gaze_output(path: Path, grid: "PatchGrid", device: "torch.device") -> "GazeOutput":
    """Read what the child wrote: the positions and padding of the released output are ours too."""
    import numpy as np
    import torch

    from autogaze.gaze.output import gazing_masks
    from autogaze.models.autogaze import GazeOutput

    with np.load(path) as arrays:
        positions, padded, slots = (
            torch.from_numpy(arrays[name])
            for name in ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame")
        )
    if positions.shape != padded.shape or positions.shape[-1] != int(slots.sum()):
        raise ChildProcessError(
            f"the released package returned positions {list(positions.shape)}, padding {list(padded.shape)} "
            f"and {int(slots.sum())} slots, which do not fit together"
        )
    positions, padded = positions.to(device, torch.int64), padded.to(device, torch.bool)
    return GazeOutput(
        gazing_pos=positions,
        if_padded_gazing=padded,
        num_gazing_each_frame=slots.to(device, torch.int64),
        gazing_mask=gazing_masks(positions, padded, len(slots), grid),
        scales=list(grid.scales),
        num_vision_tokens_each_frame=grid.patches_per_frame,
    )
