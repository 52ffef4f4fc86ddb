"""Checkouts of a released package made up by the test, whose call does what the test says."""

from pathlib import Path

import numpy as np

from autogaze.models.autogaze import GazeOutput

MODEL = """
import json, os, signal, sys, threading
from pathlib import Path

CHECKOUT = Path(__file__).parents[3]
HERE = CHECKOUT / "gazes.npz"

print("noise on standard output")
{at_import}


class AutoGaze:
    calls = 0

    @classmethod
    def from_pretrained(cls, folder):
        assert (Path(folder) / "model.safetensors").exists()
        {at_load}
        return cls()

    def to(self, device, dtype):
        return self

    def eval(self):
        return self

    def modules(self):
        self.config = type("Config", (), {{"attn_mode": "sdpa"}})
        return [self]

    def forward(self, inputs, gazing_ratio=None, task_loss_requirement=None, generate_only=False):
        import numpy as np
        import torch

        print("more of it")
        {at_call}
        arrays = np.load(HERE)
        call = AutoGaze.calls % int(arrays["calls"])
        AutoGaze.calls += 1
        names = ("gazing_pos", "if_padded_gazing", "num_gazing_each_frame")
        return {{name: torch.from_numpy(arrays[f"{{call}}.{{name}}"]) for name in names}}

    __call__ = forward
"""

TORCH = """
__version__ = "0.0"
float32 = "float32"


def set_num_threads(threads):
    pass
"""


def write_checkout(
    folder: Path, at_import: str = "", at_load: str = "", at_call: str = "", quick: bool = True
) -> str:
    """Write a checkout whose package runs these statements; return its folder.

    ``autogaze`` and ``autogaze.models`` are folders without ``__init__.py``. A ``quick`` checkout has a torch
    of its own, which imports at once and can do nothing.
    """
    package = folder / "autogaze/models/autogaze"
    package.mkdir(parents=True)
    code = MODEL.format(at_import=at_import, at_load=at_load or "pass", at_call=at_call or "pass")
    (package / "__init__.py").write_text(code)
    (folder / "transformers.py").write_text('__version__ = "4.51.3"')
    if quick:
        (folder / "torch.py").write_text(TORCH)
    return str(folder)


def write_gazes(folder: str, gazes: list[GazeOutput], change: int = 0) -> None:
    """Have the package in ``folder`` choose these patches, call by call, the first ``change`` of each frame
    exchanged for ones that are not among them."""
    arrays: dict[str, np.ndarray] = {"calls": np.array(len(gazes))}
    for call, gaze in enumerate(gazes):
        positions = gaze.gazing_pos.numpy().copy()
        first = 0
        for frame, slots in enumerate(gaze.num_gazing_each_frame.tolist()):
            candidates = np.arange(frame * 265, (frame + 1) * 265)
            for row in positions:
                row[first : first + change] = np.setdiff1d(candidates, row)[:change]
            first += slots
        arrays |= {
            f"{call}.gazing_pos": positions,
            f"{call}.if_padded_gazing": gaze.if_padded_gazing.numpy(),
            f"{call}.num_gazing_each_frame": gaze.num_gazing_each_frame.numpy(),
        }
    np.savez(Path(folder, "gazes.npz"), **arrays)
