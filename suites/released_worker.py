"""The program that holds the released package, for :class:`autogaze.child_process.ChildProcess`.

It runs in a process, and often with an interpreter, of its own, with the checkout at the head of its path:
here ``autogaze`` is the released package, and nothing of this project is imported. Commands come as lines of
JSON, and each is answered by one.
"""

import gc
import importlib
import inspect
import json
import os
import platform
import sys
import time
import traceback
import types
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_ATTENTION = ("attn_mode", "use_flash_attn", "_attn_implementation")
"""Where configurations of the released package and of transformers say how attention is computed."""


@dataclass
class Session:
    """The released model, once it is loaded, and the videos handed over; its methods are the commands."""

    checkout: Path
    videos: dict[int, Any] = field(default_factory=dict)
    package: Any = None
    model: Any = None
    device: str = "cpu"
    dtype: str = "float32"

    def import_package(self) -> dict[str, str]:
        """Import the released package; return the versions of what runs it."""
        parent = self.checkout / "autogaze"
        if not (parent / "__init__.py").exists():
            # A folder without it would yield to any installed package of the name, such as this project's.
            module = types.ModuleType("autogaze")
            module.__path__ = [str(parent)]
            sys.modules["autogaze"] = module
        self.package = importlib.import_module("autogaze.models.autogaze")
        origin = Path(self.package.__file__ or next(iter(self.package.__path__))).resolve()
        if self.checkout not in origin.parents:
            raise ImportError(f"autogaze comes from {origin}")
        import torch
        import transformers

        return {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def load(self, checkpoint: str, device: str, dtype: str, threads: int) -> dict[str, str]:
        """Load a hub folder onto a device; return how the model computes attention."""
        import torch

        torch.set_num_threads(threads)
        self.device, self.dtype = device, dtype
        model = self.package.AutoGaze.from_pretrained(checkpoint)
        self.model = model.to(device, getattr(torch, dtype)).eval()
        configs = (config for module in self.model.modules() if (config := getattr(module, "config", None)))
        # The collector rests while a clock runs, and has little to look through between two calls.
        gc.disable()
        gc.freeze()
        said = ((name, getattr(config, name, None)) for config in configs for name in _ATTENTION)
        attention = dict.fromkeys(f"{name}={value}" for name, value in said if value is not None)
        return {"attention": ", ".join(attention) or "not said"}

    def hand_over(self, call: int, path: str) -> None:
        """Put the video in a .npy file, (batch, frames, 3, height, width) float32, on the device."""
        import numpy as np
        import torch

        self.videos[call] = torch.from_numpy(np.load(path)).to(self.device, getattr(torch, self.dtype))
        self._synchronise()

    def gaze(self, call: int, path: str, **asked: float) -> float:
        """Choose patches of a video and write them to a .npz file; return the seconds of the choosing."""
        import numpy as np
        import torch

        taken = inspect.signature(self.model.forward).parameters.values()
        if any(each.name == "generate_only" or each.kind is each.VAR_KEYWORD for each in taken):
            asked = {**asked, "generate_only": True}
        gc.collect()
        with torch.inference_mode():
            self._synchronise()
            started = time.perf_counter()
            output = self.model({"video": self.videos[call]}, **asked)
            self._synchronise()
            seconds = time.perf_counter() - started
        names = ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame")
        arrays: dict[str, Any] = {name: torch.as_tensor(output[name]).cpu().numpy() for name in names}
        np.savez(path, **arrays)
        return seconds

    def forget_peaks(self) -> None:
        """Begin to look for the peaks of memory anew, where the system can."""
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)

    def peaks(self) -> dict[str, int]:
        """Return the peaks of memory since then, in bytes."""
        found = {}
        with suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    found["resident_peak"] = int(line.split()[1]) * 1024
        if self.device.startswith("cuda"):
            import torch

            found["device_allocated_peak"] = torch.cuda.max_memory_allocated(self.device)
            found["device_reserved_peak"] = torch.cuda.max_memory_reserved(self.device)
        return found

    def _synchronise(self) -> None:
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.device)


def serve(session: Session, commands: Iterable[str], answers: TextIO) -> None:
    """Carry out one command after another; an error is an answer too, its traceback on standard error."""
    for line in commands:
        command = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"result": getattr(session, command.pop("do"))(**command)}
        except Exception as error:
            traceback.print_exc()
            sentence = traceback.format_exception_only(type(error), error)[-1].strip().splitlines()[0]
            answer = {"error": sentence, "kind": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    commands, answers = (int(descriptor) for descriptor in sys.argv[1:3])
    with os.fdopen(commands, encoding="utf-8") as lines, os.fdopen(answers, "w", encoding="utf-8") as pipe:
        serve(Session(Path(sys.argv[3])), lines, pipe)


if __name__ == "__main__":
    main()
