"""Streams choose the offline call's patches, in memory that does not grow."""

import copy
import dataclasses
import gc
import io

import pytest
import torch

from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig, GazeStream, engines, frame_launches, state
from autogaze.models.autogaze.scoring import score
from kernels.decode_step import reference
from kernels.decode_step.layers import predict
from tests.reference.cases import gaze_case, gaze_model, gaze_video, load
from tests.reference.fill import clip, fill

PATCHES = 265


@pytest.fixture(scope="module")
def tiny():
    return gaze_model("tiny", 12)


def gazes_pushed(stream, video, at_once=1):
    """Push a video in parts of ``at_once`` frames; return the gazes of every frame of every video."""
    gazes = [[] for _ in video]
    for start in range(0, video.shape[1], at_once):
        output = stream.push(video[:, start : start + at_once])
        for b, of_video in enumerate(gazes):
            of_video += gazes_of(output, b)
    return gazes


def gazes_of(output, video=0):
    """Return each frame's patch indices of one video, padding left out."""
    slots = output.num_gazing_each_frame.tolist()
    frames = zip(output.gazing_pos[video].split(slots), output.if_padded_gazing[video].split(slots))
    return [(positions[~padded] - t * PATCHES).tolist() for t, (positions, padded) in enumerate(frames)]


def offline(model, video, **kwargs):
    with torch.inference_mode():
        output = model({"video": video}, **kwargs)
    return [gazes_of(output, b) for b in range(len(video))]


STREAMABLE = [
    "ratio_fixed",
    "ratio_per_frame",
    "ratio_and_task_loss",
    "task_loss_only",
    "ratio_one_exhausts_vocabulary",
    "full_ratio",
    "full_ratio_and_task_loss",
]


@pytest.mark.parametrize("name", STREAMABLE)
def test_reference_cases_pushed_frame_by_frame_give_the_released_patches(name):
    case = gaze_case(name)
    model = gaze_model(case["config"], case["weight_seed"])
    (expected,) = case["per_sample"]
    stream = GazeStream(model, window=case["frames"], **case["kwargs"])
    positions = [
        stream.push(frame).gazing_pos + t * PATCHES for t, frame in enumerate(gaze_video(case).unbind(1))
    ]
    assert torch.cat(positions, dim=1).tolist() == expected["gazing_pos"]


def test_a_batch_that_stops_at_different_gazes_is_streamed_as_each_video_alone():
    case = gaze_case("batch_of_three")
    model, video = gaze_model(case["config"], case["weight_seed"]), gaze_video(case)
    together = gazes_pushed(GazeStream(model, batch=3, **case["kwargs"]), video)
    for b, expected in enumerate(case["per_sample"]):
        frames = torch.tensor(expected["gazing_pos"][0]).split(expected["num_gazing_each_frame"])
        padded = torch.tensor(expected["if_padded_gazing"][0]).bool().split(expected["num_gazing_each_frame"])
        assert together[b] == [(p[~m] - t * PATCHES).tolist() for t, (p, m) in enumerate(zip(frames, padded))]


@pytest.mark.parametrize("policy", ["reset", "slide"])
@pytest.mark.parametrize(
    "limits", [{"gazing_ratio": 0.1}, {"gazing_ratio": 0.3, "task_loss_requirement": -0.6}]
)
def test_the_first_window_gets_the_offline_patches_whatever_the_policy(tiny, policy, limits):
    video = clip(50, 2, 5)
    stream = GazeStream(tiny, batch=2, policy=policy, window=5, **limits)
    assert gazes_pushed(stream, video, at_once=2) == offline(tiny, video, **limits)


def test_reset_begins_again_every_window(tiny):
    video = clip(51, 1, 7)
    stream = GazeStream(tiny, gazing_ratio=0.1, window=3)
    runs = [gazes for run in video.split(3, dim=1) for gazes in offline(tiny, run, gazing_ratio=0.1)[0]]
    assert gazes_pushed(stream, video, at_once=2) == [runs]


def test_ratios_and_requirements_of_single_frames_repeat_with_every_reset(tiny):
    video = clip(52, 1, 4)
    limits = {"gazing_ratio": [0.02, 0.2], "task_loss_requirement": [-9.0, -0.4]}
    runs = [gazes for run in video.split(2, dim=1) for gazes in offline(tiny, run, **limits)[0]]
    assert gazes_pushed(GazeStream(tiny, window=2, **limits), video, at_once=4) == [runs]


def test_a_sliding_window_decides_by_its_own_frames_alone(monkeypatch):
    """With one decoder layer keys and values depend on the tokens alone, so scoring only the window's frames
    must find the logits by which the stream chose in its last frame."""
    config = copy.deepcopy(load("gaze")["configs"]["tiny"])
    config["gaze_model_config"]["gaze_decoder_config"]["num_hidden_layers"] = 1
    model = fill(AutoGaze(AutoGazeConfig(**config)), 7, load("gaze")["weight_gains"]).eval()
    model.engine = "eager"  # its choices pass by where they can be recorded
    video, window, logits = clip(54, 1, 6), 3, []

    def recording(*arguments):
        logits.append(predict(*arguments)[0])
        return predict(*arguments)

    monkeypatch.setattr(reference, "predict", recording)
    stream = GazeStream(model, gazing_ratio=0.1, policy="slide", window=window, step_positions="sequential")
    gazes = torch.tensor(gazes_pushed(stream, video)[0])  # (frames, 26)
    decided = torch.cat(logits[-3:], dim=1)[:, :26].log_softmax(dim=-1)[0, range(26), gazes[-1]]

    def scored(frames):
        with torch.inference_mode():
            vision = model.gazing_model.see(video)[:, -frames:]
            indices = gazes[-frames:].reshape(1, -1)
            weights = model.gazing_model.gaze_decoder.weights()
            scores = score(weights, vision, indices, torch.zeros_like(indices).bool(), [26] * frames)
        return scores.log_probability[0, -26:]

    assert (decided - scored(window)).abs().max() < 1e-4
    assert (decided - scored(window + 1)).abs().max() > 1e-2


@pytest.mark.parametrize("policy", ["reset", "slide"])
def test_memory_is_constant_over_200_frames(tiny, policy):
    stream = GazeStream(tiny, gazing_ratio=0.004, policy=policy, window=3)
    video, held = clip(55, 1, 2), []
    for number in range(200):
        stream.push(video[:, number % 2])
        if number in (8, 101, 197):  # as many frames after a reset
            held.append(bytes_of_tensors())
    assert stream.frames_seen == 200
    assert held[0] == held[1] == held[2]


def bytes_of_tensors():
    """Return the bytes of all tensors that are alive in this process."""
    gc.collect()
    tensors = [o for o in gc.get_objects() if type(o) is torch.Tensor]
    # What vmap wrapped for flex attention has no storage of its own.
    storages = [o.untyped_storage() for o in tensors if not torch._C._functorch.is_batchedtensor(o)]
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@pytest.mark.parametrize("policy", ["reset", "slide"])
@pytest.mark.parametrize("pushed", [0, 2, 5])
def test_a_restored_stream_goes_on_as_the_saved_one(tiny, policy, pushed):
    video = clip(56, 2, 8)
    stream = GazeStream(tiny, batch=2, gazing_ratio=0.2, task_loss_requirement=-0.6, policy=policy, window=4)
    gazes_pushed(stream, video[:, :pushed])
    file = io.BytesIO()
    torch.save(stream.state_dict(), file)
    file.seek(0)
    restored = GazeStream.load(tiny, torch.load(file, weights_only=True))
    assert restored.frames_seen == pushed
    assert gazes_pushed(restored, video[:, pushed:]) == gazes_pushed(stream, video[:, pushed:])


def test_a_stream_saved_before_pending_groups_were_padded_goes_on_too(tiny):
    """Such a state holds real gazes alone, the last six of a budget of 26, and counts them."""
    video = clip(56, 2, 4)
    stream = GazeStream(tiny, batch=2, gazing_ratio=0.1)
    gazes_pushed(stream, video[:, :2])
    state = stream.state_dict()
    decoder = state["decoder"]
    real = decoder["pending"][:, :6]
    assert ((decoder["pending"] != PATCHES).sum(dim=1) == 6).all()
    old = state | {"decoder": decoder | {"pending": real, "pending_gazes": [6, 6]}}
    expected = gazes_pushed(stream, video[:, 2:])
    assert gazes_pushed(GazeStream.load(tiny, old), video[:, 2:]) == expected


def test_a_saved_state_does_not_change_when_the_stream_goes_on(tiny):
    video = clip(57, 1, 6)
    stream = GazeStream(tiny, gazing_ratio=0.1, policy="slide", window=2)
    gazes_pushed(stream, video[:, :3])
    state = stream.state_dict()
    expected = gazes_pushed(stream, video[:, 3:])
    assert gazes_pushed(GazeStream.load(tiny, state), video[:, 3:]) == expected


def test_a_stream_begun_in_inference_mode_goes_on_outside_of_it(tiny):
    video = clip(58, 1, 3)
    with torch.inference_mode():
        stream = GazeStream(tiny, gazing_ratio=0.1)
        first = gazes_of(stream.push(video[:, 0]))
    assert [first + gazes_pushed(stream, video[:, 1:])[0]] == offline(tiny, video, gazing_ratio=0.1)


def test_output_counts_frames_from_the_first_pushed(tiny):
    stream = GazeStream(tiny, gazing_ratio=0.02)
    video = clip(53, 1, 3)
    stream.push(video[:, 0])
    output = stream.push(video[:, 1:])
    assert stream.frames_seen == 3
    assert output.num_gazing_each_frame.tolist() == [5, 5]
    assert [mask.shape[1] for mask in output.gazing_mask] == [2, 2, 2, 2]
    assert output.gazing_pos.max() < 2 * PATCHES


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "neither"),
        ({"gazing_ratio": 0.1, "batch": 0}, "batch 0"),
        ({"gazing_ratio": 0.1, "window": 0}, "window 0"),
        ({"gazing_ratio": 0.1, "policy": "forget"}, "unknown stream policy 'forget'.*reset, slide"),
        ({"gazing_ratio": 1.1}, r"1\.1 lies outside"),
        ({"gazing_ratio": [0.1, 0.2], "window": 3}, "one for each of 3 frames"),
        ({"gazing_ratio": [0.1, 0.2], "policy": "slide", "window": 2}, "one for each of 1 frames"),
        ({"task_loss_requirement": torch.zeros(2, 3), "window": 4}, "task_loss_requirement has shape"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_a_sentence(tiny, settings, words):
    with pytest.raises(InputError, match=words):
        GazeStream(tiny, **settings)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (torch.zeros(1, 3, 200, 224), "200x224 pixels came after frames of 224x224"),
        (torch.zeros(2, 3, 224, 224), "2 videos came to a stream of 1"),
        (torch.zeros(1, 0, 3, 224, 224), "shape"),
        (torch.zeros(0, 3, 224, 224), "shape"),
        (torch.zeros(3, 224, 224), "shape"),
        (torch.zeros(1, 3, 224, 224, dtype=torch.uint8), "uint8"),
        (torch.full((1, 3, 224, 224), float("nan")), "not finite"),
    ],
)
def test_frames_that_cannot_be_used_are_refused_and_leave_the_stream_as_it_was(tiny, frames, words):
    video = clip(59, 1, 3)
    stream = GazeStream(tiny, gazing_ratio=0.1)
    first = gazes_of(stream.push(video[:, 0]))
    with pytest.raises(InputError, match=words):
        stream.push(frames)
    assert [first + gazes_pushed(stream, video[:, 1:])[0]] == offline(tiny, video, gazing_ratio=0.1)


def test_a_state_of_other_weights_or_in_pieces_is_refused(tiny):
    state = GazeStream(tiny, gazing_ratio=0.1).state_dict()
    with pytest.raises(InputError, match="saved with weights"):
        GazeStream.load(gaze_model("tiny", 11), state)
    del state["past"], state["decoder"]
    with pytest.raises(InputError, match="lacks decoder, past"):
        GazeStream.load(tiny, state)


CAPTURED = [name for name, engine in engines.ENGINES.items() if engine.captures]


def tried_out(function, prepare):
    """Do with a function what capturing does, but for the recording: try it out, and leave the state
    prepared."""
    prepare()
    function()
    prepare()
    return function


@pytest.fixture
def captured(tiny, monkeypatch):
    """A model of an engine that captures, which is tried out here with plain calls."""
    monkeypatch.setattr(engines, "in_cuda_graph", tried_out)
    for name in CAPTURED:
        able = dataclasses.replace(engines.ENGINES[name], obstacle=lambda arch, device, dtype: None)
        monkeypatch.setitem(engines.ENGINES, name, able)
    monkeypatch.setattr(tiny.gazing_model, "engine", "graph")
    return tiny


CAPTURED_LIMITS = [
    {"gazing_ratio": 0.07},
    {"gazing_ratio": 0.1, "task_loss_requirement": -0.6},
    {"gazing_ratio": 0.05, "step_positions": "sequential"},
]


def as_eager(model, **settings):
    """Return a stream of the same model that steps eagerly."""
    before = model.gazing_model.engine
    model.gazing_model.engine = "eager"
    try:
        return GazeStream(model, **settings)
    finally:
        model.gazing_model.engine = before


@pytest.mark.parametrize("policy", ["reset", "slide", "keep"])
@pytest.mark.parametrize("limits", CAPTURED_LIMITS)
def test_a_stream_takes_the_captured_steps_of_its_engine(captured, policy, limits, monkeypatch):
    """Beyond the window, so that frames are forgotten, or there is more room and everything captured anew."""
    launches, video = [], clip(61, 2, 4)
    settings = {"batch": 2, "policy": policy, "window": 2, **limits}
    expected = gazes_pushed(as_eager(captured, **settings), video)
    monkeypatch.setattr(state.GenerationState, "feed", lambda *args: pytest.fail("a step was taken eagerly"))
    monkeypatch.setattr(frame_launches, "count", lambda name: launches.append(name))
    assert gazes_pushed(GazeStream(captured, **settings), video) == expected
    assert len(launches) > video.shape[1]


@pytest.mark.parametrize("policy", ["slide", "keep"])
def test_a_captured_stream_goes_on_from_a_state_and_from_a_copy(captured, policy):
    video = clip(62, 1, 4)
    settings = {"policy": policy, "window": 3, "gazing_ratio": 0.07}
    expected = gazes_pushed(as_eager(captured, **settings), video)[0][2:]
    stream = GazeStream(captured, **settings)
    stream.push(video[:, :2])
    again, copied = GazeStream.load(captured, stream.state_dict()), copy.deepcopy(stream)
    for each in (again, copied, stream):
        assert gazes_pushed(each, video[:, 2:])[0] == expected


def test_a_captured_stream_finds_no_trace_of_what_was_forgotten(captured):
    """Slots that are masked out are still multiplied, and 0 x NaN would be NaN."""
    video = clip(63, 1, 1)
    stream = GazeStream(captured, window=1, gazing_ratio=0.07)
    expected = gazes_pushed(stream, video)
    stream._state.cache.keys.fill_(float("nan"))
    assert gazes_pushed(stream, video) == expected


@pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are compiled here, and run on the GPU in a test of their own"
)
@pytest.mark.parametrize("engine", ["triton", "triton_whole_frame"])
def test_a_stream_takes_the_steps_of_the_fused_kernels(captured, engine):
    captured.gazing_model.engine = engine
    video, settings = clip(64, 1, 2), {"window": 1, "gazing_ratio": 0.05}
    expected = gazes_pushed(as_eager(captured, **settings), video)
    assert gazes_pushed(GazeStream(captured, **settings), video) == expected


@pytest.mark.gpu
@pytest.mark.parametrize("engine", CAPTURED)
@pytest.mark.parametrize("policy", ["reset", "slide", "keep"])
@pytest.mark.parametrize("limits", CAPTURED_LIMITS)
def test_a_stream_on_a_gpu_takes_the_steps_of_its_engine(policy, limits, engine):
    model, video = copy.deepcopy(gaze_model("tiny", 12)).cuda(), clip(61, 2, 4).cuda()
    if (reason := engines.ENGINES[engine].obstacle(model.arch, video.device, torch.float32)) is not None:
        pytest.skip(reason)
    settings = {"batch": 2, "policy": policy, "window": 2, **limits}
    model.gazing_model.engine = "eager"
    expected = gazes_pushed(GazeStream(model, **settings), video)
    model.gazing_model.engine = engine
    assert gazes_pushed(GazeStream(model, **settings), video) == expected
