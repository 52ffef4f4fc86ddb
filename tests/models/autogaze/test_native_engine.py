"""The native engine takes each frame in two calls and chooses the released patches, offline and streamed."""

import copy
import dataclasses
from contextlib import nullcontext

import pytest
import torch

from autogaze.errors import BackendUnavailable
from autogaze.models.autogaze import GazeStream, engines
from autogaze.models.autogaze.engines import choose_engine
from autogaze.models.autogaze.state import GenerationState
from autogaze.stages import observed_by
from kernels.c_compiler import BuildError
from kernels.decode_step import native
from tests.reference.cases import gaze_case, gaze_model, gaze_video, load
from tests.reference.fill import clip

CPU = torch.device("cpu")
ARCH = gaze_model("tiny", 12).arch


@pytest.mark.parametrize("name", [case["name"] for case in load("gaze")["cases"]])
def test_native_steps_choose_the_released_patches(name):
    case = gaze_case(name)
    model = gaze_model(case["config"], case["weight_seed"])
    for video, expected in zip(gaze_video(case), case["per_sample"], strict=True):
        with torch.inference_mode():
            output = model({"video": video[None]}, engine="native", **case["kwargs"])
        assert output.num_gazing_each_frame.tolist() == expected["num_gazing_each_frame"]
        assert output.gazing_pos.tolist() == expected["gazing_pos"]


@pytest.mark.parametrize(
    "kwargs",
    [
        {"gazing_ratio": [0.1, 0.01, 0.2]},
        {"gazing_ratio": 0.3, "task_loss_requirement": -0.6},
        {"task_loss_requirement": -0.5, "step_positions": "sequential"},
        {"gazing_ratio": 0.1, "max_batch_size": 2},
    ],
)
def test_a_batch_gets_what_the_eager_engine_gives(kwargs):
    model, video = gaze_model("tiny", 12), {"video": clip(60, 3, 3)}
    with torch.inference_mode():
        eager, ours = (model(video, engine=engine, **kwargs) for engine in ("eager", "native"))
    assert torch.equal(ours.gazing_pos, eager.gazing_pos)
    assert torch.equal(ours.if_padded_gazing, eager.if_padded_gazing)


@pytest.mark.parametrize("policy", ["reset", "slide"])
@pytest.mark.parametrize("kwargs", [{"gazing_ratio": 0.1}, {"task_loss_requirement": -0.6}])
def test_a_stream_takes_native_steps_and_gets_the_patches_of_eager_ones(policy, kwargs, monkeypatch):
    model, video = gaze_model("tiny", 12), clip(63, 2, 5)
    chosen = {}
    for engine in ("eager", "native"):
        monkeypatch.setattr(model, "engine", engine)
        stream = GazeStream(model, batch=2, policy=policy, window=2, **kwargs)
        chosen[engine] = [stream.push(frame) for frame in video.unbind(1)]
    for eager, ours in zip(chosen["eager"], chosen["native"], strict=True):
        assert torch.equal(ours.gazing_pos, eager.gazing_pos)


def test_a_copy_of_a_stream_has_memory_of_its_own():
    model, frames = gaze_model("tiny", 12), clip(63, 1, 4).unbind(1)
    stream, undisturbed = (GazeStream(model, gazing_ratio=0.1) for _ in range(2))
    for frame in frames[:2]:
        stream.push(frame)
        undisturbed.push(frame)
    copy.deepcopy(stream).push(frames[3])
    for frame in frames[2:]:
        assert torch.equal(stream.push(frame).gazing_pos, undisturbed.push(frame).gazing_pos)


def test_a_state_is_bound_once_and_again_when_what_it_is_bound_to_changes():
    weights = gaze_model("tiny", 12).gazing_model.gaze_decoder.weights()
    state = GenerationState.allocate(ARCH, 1, [26, 26], weights.embedding, "sdpa")
    first = state.bound(native.NativeDecoder, weights, False)
    assert state.bound(native.NativeDecoder, weights, False) is first
    sequential = state.bound(native.NativeDecoder, weights, True)
    assert sequential is not first
    others = weights._replace(heads=weights.heads * 2)
    assert state.bound(native.NativeDecoder, others, True) is not sequential
    copied = copy.deepcopy(state)
    assert copied.bound(native.NativeDecoder, others, True) is not None
    assert copied.bound(native.NativeDecoder, others, True) is not state.bound(
        native.NativeDecoder, others, True
    )


class Counter:
    """Observes how often each thing is counted."""

    def __init__(self):
        self.counts = {}

    def stage(self, name):
        return nullcontext()

    def count(self, name, amount):
        self.counts[name] = self.counts.get(name, 0) + amount

    def took(self, name, seconds):
        pass


@pytest.mark.parametrize("requirement", [None, 100.0])
def test_it_counts_the_steps_that_the_eager_engine_counts(requirement):
    model, video = gaze_model("tiny", 12), {"video": clip(64, 2, 2)}
    counts = []
    for engine in ("eager", "native"):
        counter = Counter()
        with torch.inference_mode(), observed_by(counter):
            model(video, gazing_ratio=0.2, task_loss_requirement=requirement, engine=engine)
        counts.append(counter.counts)
    assert counts[0] == counts[1]
    assert ("decode_steps" in counts[0]) == (requirement is None)


def test_auto_is_native_on_a_cpu_in_float32_and_eager_otherwise():
    assert choose_engine("auto", ARCH, CPU, torch.float32) == "native"
    assert choose_engine("auto", ARCH, CPU, torch.bfloat16) == "eager"
    assert choose_engine("auto", ARCH, CPU, torch.float32, samples=True) == "eager"


@pytest.mark.parametrize(
    ("device", "dtype", "change", "words"),
    [
        (torch.device("cuda"), torch.float32, {}, "computes on the CPU and the model is on cuda"),
        (CPU, torch.bfloat16, {}, "computes float32, not bfloat16"),
        (CPU, torch.float32, {"group": 20}, "groups of up to 16"),
    ],
)
def test_what_native_steps_cannot_do_is_refused(device, dtype, change, words):
    with pytest.raises(BackendUnavailable, match=f"engine 'native' .*{words}"):
        choose_engine("native", dataclasses.replace(ARCH, **change), device, dtype)


def test_native_steps_refuse_to_sample():
    with pytest.raises(BackendUnavailable, match="cannot sample"):
        choose_engine("native", ARCH, CPU, torch.float32, samples=True)


def test_without_a_compiler_auto_is_eager_and_native_says_why(monkeypatch):
    def library(sizes):
        raise BuildError("needs a C compiler and there is none; install gcc or clang, or set CC")

    monkeypatch.setattr(native, "library", library)
    engines._build_obstacle.cache_clear()
    try:
        assert choose_engine("auto", ARCH, CPU, torch.float32) == "eager"
        with pytest.raises(BackendUnavailable, match=r"engine 'native' needs a C compiler.*or use 'eager'"):
            choose_engine("native", ARCH, CPU, torch.float32)
    finally:
        engines._build_obstacle.cache_clear()
