"""Patches of a clip on a device, held against those that a CPU chooses in the same process.

The CPU's choice is made anew, by the plain engine: so it is that of this tree, of this clip and of these
weights, whatever they are. It does not depend on the CPU: noise of 1e-5 on vision tokens, far more than the
rounding of any, changes no patch (``tests/models/autogaze/test_true_float32.py``), so a device that disagrees
computes something else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autogaze.embedded import clip_path, load_gaze_model
from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, GazeOutput
from autogaze.models.autogaze.engines import ENGINES
from autogaze.video.preprocessing import fit_frames, normalize
from autogaze.video.video_file import open_source
from bench.first_contact.item import NotHere

FRAMES = 16


@cache
def model_on(device: str, dtype: str = "float32") -> AutoGaze:
    """Return the embedded model on a device."""
    model: AutoGaze = load_gaze_model().to(device, getattr(torch, dtype))
    return model


@cache
def clip(video: Path | None, frames: int = FRAMES) -> Tensor:
    """Return the first frames of a clip, normalised: (1, frames, 3, size, size) on the CPU."""
    try:
        pixels = open_source(video or clip_path()).read(start=0, count=frames).frames
    except InputError:  # PyAV is not here
        if video is not None:
            raise
        pixels = _painted()[:frames]
    return torch.from_numpy(normalize(fit_frames(pixels, model_on("cpu").arch.image_size)))[None]


def _painted() -> Any:
    """Paint the embedded clip, which looks a little other than once it was encoded."""
    try:
        from autogaze.embedded.street_scene import paint_clip
    except ImportError as error:
        raise NotHere(f"a clip needs PyAV to be read or scipy to be painted ({error})") from error
    return paint_clip()


@cache
def cpu_choice(ratio: float, video: Path | None, frames: int) -> GazeOutput:
    """Return what the plain engine chooses on the CPU."""
    return _choice("eager", "cpu", ratio, video, frames)


def _choice(engine: str, device: str, ratio: float, video: Path | None, frames: int) -> GazeOutput:
    model = model_on(device)
    model.engine = engine
    with torch.inference_mode():
        found: GazeOutput = model(
            {"video": clip(video, frames).to(device)}, gazing_ratio=ratio, generate_only=True
        )
    return found


def check(
    engine: str, device: str, ratio: float, tf32: bool, video: Path | None, frames: int
) -> dict[str, Any]:
    """Return the hash of the patches that an engine chooses while the program allows ``tf32`` or not, and
    whether the CPU chooses the same."""
    model = model_on(device)
    obstacle = ENGINES[engine].obstacle(model.arch, torch.device(device), torch.float32)
    if obstacle is not None:
        raise NotHere(f"engine {engine} {obstacle}")
    expected = cpu_choice(ratio, video, frames)
    with _allowing(tf32):
        found = _choice(engine, device, ratio, video, frames)
    agreement = found.agreement(expected)[0].tolist()
    other = [place for place, share in enumerate(agreement) if share < 1]
    return {
        "hash": found.patch_hash(),
        "cpu_hash": expected.patch_hash(),
        "right": found.patch_hash() == expected.patch_hash(),
        "agreement": sum(agreement) / len(agreement),
        "first_frame_with_other_patches": other[0] if other else None,
        "remarks": model.gazing_model.engine_remarks(),
    }


@contextmanager
def _allowing(tf32: bool) -> Iterator[None]:
    """Have the program allow TF32 for everything, as torch's newest switch does, or leave all as it is."""
    backends: Any = torch.backends
    before = backends.fp32_precision
    if tf32:
        backends.fp32_precision = "tf32"
    try:
        yield
    finally:
        if tf32:
            backends.fp32_precision = before
