"""Single precision is computed in single precision, whatever a program has allowed."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from autogaze.embedded import clip_path, load_gaze_model
from autogaze.models.autogaze import vision
from autogaze.models.autogaze.generation import GazeRequest
from autogaze.models.autogaze.true_float32 import true_float32
from autogaze.video.preprocessing import fit_frames, normalize
from autogaze.video.video_file import open_source

HASHES = json.loads((Path(__file__).parents[2] / "reference/embedded_patches.json").read_text())
"""Ratio to the hash of the patches of the embedded clip's first 16 frames, as a CPU chooses them; made by
this file (``python -m tests.models.autogaze.test_true_float32``)."""
RATIOS = sorted(HASHES)
backends: Any = torch.backends


@pytest.fixture(scope="module")
def video() -> Tensor:
    return embedded_video()


def embedded_video() -> Tensor:
    frames = open_source(clip_path()).read(start=0, count=16).frames
    return torch.from_numpy(normalize(fit_frames(frames, 224)))[None]


def patches(video: Tensor, ratio: str, engine: str | None = None) -> str:
    model = load_gaze_model().to(video.device)
    if engine is not None:
        model.gazing_model.engine = engine
    with torch.inference_mode():
        return str(model({"video": video}, gazing_ratio=float(ratio)).patch_hash())


def settings() -> tuple[Any, ...]:
    """Return all that says how single precision is computed; an error is a setting as well."""
    older = []
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            older.append(read())
        except RuntimeError as error:
            older.append(str(error))
    newer = (
        backends, backends.cudnn, backends.cudnn.conv, backends.cudnn.rnn,
        backends.cuda.matmul, backends.mkldnn, backends.mkldnn.matmul, backends.mkldnn.conv,
    )  # fmt: skip
    return *older, *(switch.fp32_precision for switch in newer)


def exact() -> bool:
    return {
        backends.cudnn.conv.fp32_precision, backends.cuda.matmul.fp32_precision,
        backends.mkldnn.conv.fp32_precision, backends.mkldnn.matmul.fp32_precision,
        {"highest": "ieee"}[torch.get_float32_matmul_precision()],
    } == {"ieee"}  # fmt: skip


@contextmanager
def older_allows() -> Iterator[None]:
    torch.set_float32_matmul_precision("high")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")
        backends.cuda.matmul.fp32_precision = backends.mkldnn.matmul.fp32_precision = "none"


@contextmanager
def newer_allows() -> Iterator[None]:
    backends.fp32_precision = "tf32"
    try:
        yield
    finally:
        backends.fp32_precision = "none"


@contextmanager
def newer_allows_products() -> Iterator[None]:
    backends.cuda.matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        backends.cuda.matmul.fp32_precision = "none"


@pytest.mark.parametrize("allowed", [nullcontext, older_allows, newer_allows, newer_allows_products])
def test_whatever_was_allowed_is_off_inside_and_back_afterwards(allowed: Any) -> None:
    with allowed():
        before = settings()
        with true_float32():
            assert exact()
            with true_float32():
                assert exact()
            assert exact()
        assert settings() == before
        with pytest.raises(ZeroDivisionError), true_float32():
            raise ZeroDivisionError
        assert settings() == before


def test_a_setting_for_everything_still_counts_after_a_call() -> None:
    """torch's default for convolutions follows it; TF32 that was asked for by name would not."""
    with true_float32():
        pass
    backends.fp32_precision = "ieee"
    try:
        assert backends.cudnn.conv.fp32_precision == "ieee"
    finally:
        backends.fp32_precision = "none"
    assert backends.cudnn.conv.fp32_precision == "tf32"


def test_threads_that_overlap_turn_nothing_back_on_for_each_other() -> None:
    before, inside, leave = settings(), threading.Event(), threading.Event()

    def other() -> None:
        with true_float32():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait(10)
    with true_float32():
        pass
    assert exact()
    leave.set()
    thread.join()
    assert settings() == before


def test_convolutions_are_told_so() -> None:
    """What torch hands to cuDNN is an argument of its own operator, on a CPU too."""

    def allowed() -> list[Any]:
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True
        ) as run:
            F.conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3))
        return [event.concrete_inputs[-1] for event in run.events() if event.name == "aten::_convolution"]

    assert allowed() == [True]
    with true_float32():
        assert allowed() == [False]


def tf32(x: Tensor) -> Tensor:
    """Round to the ten bits that TF32 keeps, to the nearest even."""
    bits = x.view(torch.int32)
    return ((bits + 0x0FFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Round the factors of convolutions and products as a GPU would under the settings of the moment."""
    convolution, plane, product = F.conv3d, F.conv2d, F.linear

    def rounded(function: Any, switch: Any) -> Any:
        def call(x: Tensor, weight: Tensor, *rest: Any, **kwargs: Any) -> Any:
            if switch.fp32_precision == "tf32":
                x, weight = tf32(x), tf32(weight)
            return function(x, weight, *rest, **kwargs)

        return call

    monkeypatch.setattr(F, "conv3d", rounded(convolution, backends.cudnn.conv))
    monkeypatch.setattr(F, "conv2d", rounded(plane, backends.cudnn.conv))
    monkeypatch.setattr(F, "linear", rounded(product, backends.cuda.matmul))


@pytest.mark.parametrize("ratio", RATIOS)
def test_the_patches_of_the_embedded_clip_are_those_of_the_file(video: Tensor, ratio: str) -> None:
    assert patches(video, ratio) == HASHES[ratio]


@pytest.mark.parametrize("ratio", RATIOS)
def test_tf32_in_the_trunk_would_change_them_and_does_not_come_to_it(
    video: Tensor, ratio: str, as_on_a_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert patches(video, ratio) == HASHES[ratio]
    monkeypatch.setattr(vision, "true_float32", nullcontext)
    assert patches(video, ratio) != HASHES[ratio]


def test_noise_of_a_hundred_thousandth_changes_no_patch_and_of_a_thousandth_does(video: Tensor) -> None:
    """So that the hashes may be asked of any device that computes in single precision."""
    model = load_gaze_model().gazing_model
    generator = torch.Generator().manual_seed(0)
    request = GazeRequest((int(0.75 * model.arch.grid.patches_per_frame),) * 16)
    with torch.inference_mode():
        tokens = model.see(video)
        noise = torch.randn(tokens.shape, generator=generator)
        chosen = [model.choose(tokens + scale * noise, request).patch_hash() for scale in (0.0, 1e-5, 1e-3)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.gpu
@pytest.mark.parametrize("allowed", [nullcontext, older_allows, newer_allows])
@pytest.mark.parametrize("engine", ["eager", "graph", "triton"])
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_gpu_chooses_the_patches_of_a_cpu(video: Tensor, ratio: str, engine: str, allowed: Any) -> None:
    with allowed():
        assert patches(video.cuda(), ratio, engine) == HASHES[ratio]


if __name__ == "__main__":
    print(
        json.dumps({ratio: patches(embedded_video(), ratio, "eager") for ratio in ("0.10", "0.75", "1.00")})
    )
