"""A workload that does what the test asks for, and costs next to nothing."""

import os
import select
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from autogaze.errors import BackendUnavailable, InputError
from autogaze.stages import count, stage
from suites.settings import canonical_setting
from suites.workload import Axis, AxisValue, Inputs, Quality

TOML = """
version = 1
description = "fake"
time_budget_seconds = 0.001
min_samples = 5
timeout_seconds = 60

[workloads]
fake = "tests.bench.fake_workload:Fake"

[[cells]]
workload = "fake"
behaviour = {behaviours}
"""


def write_suite(folder: Path, behaviours: list[str], name: str = "fake") -> Path:
    """Write a suite of one fake cell a behaviour; return its path."""
    path = folder / f"{name}.toml"
    path.write_text(TOML.format(behaviours=behaviours))
    return path


class Rendezvous:
    """A named pipe that a fake cell opens and holds as long as it lives; its path is the behaviour."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pipe"
        os.mkfifo(self.path)
        self._pipe = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def reached(self) -> bool:
        """Wait for the cell; False where it does not come within a minute."""
        return self._read() == b"here"

    def gone(self) -> bool:
        """Wait for the end of the cell's process; False where it lives on for a minute."""
        return self._read() == b""

    def dissolve(self) -> None:
        """Let the cell pass from now on."""
        self.path.unlink()

    def _read(self) -> bytes | None:
        readable, _, _ = select.select([self._pipe], [], [], 60)
        return os.read(self._pipe, 4) if readable else None


LEFT_BEHIND: list[bytearray] = []
"""What a workload that leaks leaves in its process."""


class Fake:
    """Behaves as the value says, well by default; a named pipe's path means: hang, once somebody reads it."""

    axes: ClassVar[Mapping[str, Axis]] = {
        "behaviour": Axis("good"),
        "chunk": Axis(16, known=(2, 4, 8, 16)),
        "dtype": Axis("float32", known=("float32", "bfloat16", "float16")),
        "setting": Axis("ratio_0.25", check=canonical_setting),
    }

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        self.behaviour = str(axes["behaviour"])
        self.notes = ["fake weights"]
        self.details: dict[str, Any] = {"engine": "fake"}
        self.runs = 0
        if self.behaviour == "refuse":
            raise InputError("video v.mp4 has no frames: name a video with at least one")
        if self.behaviour == "unavailable":
            raise BackendUnavailable("backend flex cannot run on cpu: use sdpa")
        if self.behaviour == "print":
            print("noise on standard output")
        if self.behaviour == "hang in setup":
            threading.Event().wait()
        self.found = len(LEFT_BEHIND)
        if self.behaviour == "leak":
            LEFT_BEHIND.append(bytearray(1000))

    def run(self) -> dict[str, Any]:
        self.runs += 1
        with stage("decode"):
            pass
        with stage("gaze"):
            for _ in range(3):
                with stage("gaze.steps"):
                    count("decode_steps")
            if self.runs > 3:
                self._misbehave()
        return {"patches": [1, 2, 3], "run": self.runs if self.behaviour == "wander" else 0}

    def _misbehave(self) -> None:
        match self.behaviour:
            case "raise":
                raise RuntimeError("something broke\nand more about it")
            case "memory":
                raise MemoryError("no room")
            case "torch_memory":
                import torch

                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")
            case "allocator":
                raise RuntimeError(
                    "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
                )
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "hang":
                threading.Event().wait()
            case pipe if pipe.startswith("/") and Path(pipe).exists():
                with open(pipe, "w") as file:
                    file.write("here")
                    file.flush()
                    threading.Event().wait()
            case "spin":
                until = time.perf_counter() + 0.02
                while time.perf_counter() < until:
                    pass

    def quality(self, output: dict[str, Any]) -> Quality:
        frames = [
            {"clip": 0, "frame": frame, "gazes": 3, "psnr": 20.0 + frame, "ssim": 0.5, "loss": 1.0}
            for frame in range(2)
        ]
        counters = {"clips": 1.0, "frames": 2.0, "candidate_patches": 530.0, "selected_patches": 53.0}
        figures: dict[str, float] = {}
        if self.behaviour == "pid":
            figures = {"pid": os.getpid(), "parent": os.getppid()}
        if self.behaviour == "leak":
            figures = {"found": float(self.found)}
        return Quality(f"hash{output['run']}", frames, counters, figures)


class Sharing(Fake):
    """Shares a process with its like, keeps pictures, and says which process it was."""

    shares_process: ClassVar[bool] = True

    def quality(self, output: dict[str, Any]) -> Quality:
        import numpy as np

        quality = super().quality(output)
        quality.details["process"] = os.getpid()
        quality.arrays = {"runs": np.arange(self.runs)}
        return quality


class FakePeer:
    """A process that does not exist, and needs seven bytes."""

    pid = 2**30

    def forget_peaks(self) -> None:
        return

    def peaks(self) -> dict[str, int]:
        return {"resident_peak": 7}


class Accompanied(Fake):
    """Has a peer, whose input ``upstream`` some values need; notes whose turn it was."""

    axes: ClassVar[Mapping[str, Axis]] = {"behaviour": Axis("good", needs={"peer": "upstream"})}
    peer = FakePeer()
    turns: ClassVar[list[str]] = []

    @classmethod
    def check(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        if axes["behaviour"] == "peer" and inputs.upstream == "/nowhere":
            raise InputError("UPSTREAM /nowhere is not a checkout: name one")

    def run(self) -> dict[str, Any]:
        self.turns.append("theirs")
        return super().run()

    def run_ours(self) -> None:
        self.turns.append("ours")
