"""Engines choose the same patches; those that cannot run say why."""

import dataclasses
from contextlib import nullcontext

import pytest
import torch

from autogaze.errors import BackendUnavailable, InputError
from autogaze.models.autogaze import engines
from autogaze.models.autogaze.budgets import as_ratios, as_requirement, budgets_of
from autogaze.models.autogaze.device_loop import DeviceLoop
from autogaze.models.autogaze.engines import ENGINES, choose_engine
from autogaze.models.autogaze.frame_launches import FEW, LAG, FrameForm, directly
from autogaze.models.autogaze.generation import GazeRequest, generate
from autogaze.stages import observed_by
from kernels import dependent_launch
from kernels.decode_step.variants import STEPS
from suites import axes
from tests.reference.cases import gaze_case, gaze_model, gaze_video, load
from tests.reference.fill import clip

CUDA = torch.device("cuda")
CPU = torch.device("cpu")
CASES = [case["name"] for case in load("gaze")["cases"]]
CAPTURED = [name for name, engine in ENGINES.items() if engine.captures]
OF_TRITON = [name for name in CAPTURED if name.startswith("triton")]
WHOLE_PICTURES = [case["name"] for case in load("gaze")["cases"] if case["height"] == 224]
on_the_interpreter = pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are compiled here, and run on the GPU in tests of their own"
)


def request_for(model, vision, gazing_ratio=1.0, task_loss_requirement=None, **kwargs):
    batch, frames = vision.shape[:2]
    requirement = task_loss_requirement
    if requirement is not None:
        requirement = as_requirement(requirement, batch, frames, vision.device)
    return GazeRequest(budgets_of(as_ratios(gazing_ratio, frames), model.arch.eos), requirement, **kwargs)


def loop_for(model, vision, request, form):
    """Return a device loop whose launches are plain calls."""
    weights = model.gazing_model.gaze_decoder.weights()
    slots = sum(request.budgets) + vision.shape[1] * vision.shape[2] + 20
    return DeviceLoop(weights, len(vision), slots, max(request.budgets), vision, form, directly)


def chosen_by(model, video, engine, **kwargs):
    with torch.inference_mode():
        vision = model.gazing_model.see(video)
        weights = model.gazing_model.gaze_decoder.weights()
        request = request_for(model, vision, **kwargs)
        if engine == "eager":
            return generate(weights, vision, request)
        return loop_for(model, vision, request, ENGINES[engine].form()).run(weights, vision, request)


@pytest.fixture
def uncaptured(monkeypatch):
    """Let every engine run here, its launches plain calls; caches are as long as a clip needs."""
    monkeypatch.setattr(engines, "in_cuda_graph", directly)
    monkeypatch.setattr(engines, "ROUND_SLOTS", 1)
    for name, engine in ENGINES.items():
        able = dataclasses.replace(engine, obstacle=lambda arch, device, dtype: None)
        monkeypatch.setitem(ENGINES, name, able)


def expect_released_patches(case, engine):
    """Run each video of a case alone, and hold its patches against the released ones."""
    model = gaze_model(case["config"], case["weight_seed"])
    for video, expected in zip(gaze_video(case), case["per_sample"], strict=True):
        with torch.inference_mode():
            output = model({"video": video[None]}, engine=engine, **case["kwargs"])
        assert output.num_gazing_each_frame.tolist() == expected["num_gazing_each_frame"]
        assert output.gazing_pos.tolist() == expected["gazing_pos"]
        assert output.if_padded_gazing.int().tolist() == expected["if_padded_gazing"]


def beginning(case, steps):
    """Cut a case off where its first video has taken so many decode steps.

    Returns the clip, the arguments and the released positions of what is left. A frame that is cut ends early
    for want of budget: what was chosen before does not know that.
    """
    expected, ratio, group = case["per_sample"][0], case["kwargs"].get("gazing_ratio", 1.0), 10
    slots, budgets = [], []
    for t, n in enumerate(expected["num_gazing_each_frame"]):
        cut = n > group * (steps + 1)
        slots.append(group * (steps + 1) if cut else n)
        whole = ratio[t] if isinstance(ratio, list) else ratio
        budgets.append((slots[-1] + 0.5) / 265 if cut else whole)
        steps -= -(-n // group) - 1
        if cut:
            break
    kwargs = case["kwargs"] | {"gazing_ratio": budgets}
    return gaze_video(case)[:1, : len(slots)], kwargs, expected["gazing_pos"][0][: sum(slots)]


@pytest.mark.parametrize("name", CASES)
def test_the_graph_engine_chooses_the_released_patches(name, uncaptured):
    expect_released_patches(gaze_case(name), "graph")


@on_the_interpreter
@pytest.mark.parametrize(
    ("name", "engine"),
    [(name, "triton") for name in WHOLE_PICTURES] + [("ratio_fixed", engine) for engine in OF_TRITON[1:]],
)
def test_a_triton_engine_begins_with_the_released_patches(name, engine, uncaptured):
    case = gaze_case(name)
    video, kwargs, expected = beginning(case, steps=1)
    model = gaze_model(case["config"], case["weight_seed"])
    with torch.inference_mode():
        output = model({"video": video}, engine=engine, **kwargs)
    assert output.gazing_pos.tolist() == [expected]


@on_the_interpreter
@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", OF_TRITON)
@pytest.mark.parametrize("name", CASES)
def test_a_triton_engine_chooses_the_released_patches(name, engine, uncaptured):
    expect_released_patches(gaze_case(name), engine)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"gazing_ratio": [0.1, 0.02, 0.2]},
        {"gazing_ratio": 0.3, "task_loss_requirement": -0.6},
        {"task_loss_requirement": -0.5, "step_positions": "sequential"},
    ],
)
def test_a_batch_gives_what_the_eager_engine_gives(kwargs):
    model, videos = gaze_model("tiny", 12), clip(60, 3, 3)
    eager, graph = (chosen_by(model, videos, engine, **kwargs) for engine in ("eager", "graph"))
    assert all(torch.equal(a, b) for a, b in zip(eager, graph, strict=True))


def test_a_loop_serves_call_after_call_with_other_weights_and_budgets():
    first, second = gaze_model("tiny", 12), gaze_model("tiny", 11)
    with torch.inference_mode():
        video = clip(61, 1, 2)
        loop = loop_for(first, first.gazing_model.see(video), GazeRequest((265, 265)), FrameForm())
        for model, ratio in ((first, 0.3), (second, 0.1), (first, 0.05)):
            vision = model.gazing_model.see(video)
            weights = model.gazing_model.gaze_decoder.weights()
            request = request_for(model, vision, ratio)
            frames = loop.run(weights, vision, request)
            expected = generate(weights, vision, request)
            assert all(torch.equal(a, b) for a, b in zip(frames, expected, strict=True))


class Counter:
    """Hears what is counted."""

    def __init__(self):
        self.counts = {}

    def stage(self, name):
        return nullcontext()

    def count(self, name, amount):
        self.counts[name] = self.counts.get(name, 0) + amount


def counted(model, video, form, **kwargs):
    """Return the patches that a form chooses, and what it counted."""
    counter = Counter()
    with torch.inference_mode(), observed_by(counter):
        vision = model.gazing_model.see(video)
        request = request_for(model, vision, **kwargs)
        loop = loop_for(model, vision, request, form)
        return loop.run(loop.weights, vision, request), counter.counts


@pytest.mark.parametrize(
    ("steps", "launches"), [(1, 3 + 7 + 2 + 0), (4, 3 + 2 + 1 + 0), (5, 3 + 2 + 1 + 0), (None, 3 + 1 + 1 + 0)]
)
def test_within_budgets_a_form_launches_what_arithmetic_says_and_never_looks(steps, launches):
    """Of three frames one takes seven steps after its prefill, one two and one none."""
    model, video = gaze_model("tiny", 12), clip(60, 2, 3)
    ratios = [80.5 / 265, 25.5 / 265, 4.5 / 265]
    with torch.inference_mode():
        vision = model.gazing_model.see(video)
        weights = model.gazing_model.gaze_decoder.weights()
        expected = generate(weights, vision, request_for(model, vision, ratios))
    frames, counts = counted(model, video, FrameForm(steps=steps), gazing_ratio=ratios)
    assert all(torch.equal(a, b) for a, b in zip(frames, expected, strict=True))
    assert counts == {"launches": launches, "decode_steps": 9}


@pytest.mark.parametrize(("steps", "taken_at_once"), [(1, 1), (3, 3), (None, FEW)])
@pytest.mark.parametrize("requirement", [-0.6, -0.5, 1e9])
def test_with_a_requirement_no_more_is_launched_in_vain_than_the_host_lags(steps, taken_at_once, requirement):
    model, video = gaze_model("tiny", 12), clip(60, 2, 3)
    kwargs = {"gazing_ratio": 0.3, "task_loss_requirement": requirement}
    with torch.inference_mode():
        vision = model.gazing_model.see(video)
        weights = model.gazing_model.gaze_decoder.weights()
        expected = generate(weights, vision, request_for(model, vision, **kwargs))
    frames, counts = counted(model, video, FrameForm(steps=steps), **kwargs)
    assert all(torch.equal(a, b) for a, b in zip(frames, expected, strict=True))
    budgeted = -(-int(0.3 * 265) // 10) - 1
    needed = [-(-frame.shape[1] // 10) - 1 for frame in expected]
    launched = [min(-(-n // taken_at_once) + LAG, -(-budgeted // taken_at_once)) for n in needed]
    assert counts["launches"] == len(expected) + sum(launched)
    assert counts.get("decode_steps", 0) == sum(needed)


def test_what_a_frame_launches_is_all_of_its_steps_in_equal_parts_and_a_rest():
    assert FrameForm(steps=4).launches(10, may_end_early=False) == [4, 4, 2]
    assert FrameForm(steps=4).launches(8, may_end_early=True) == [4, 4]
    assert FrameForm(steps=None).launches(19, may_end_early=False) == [19]
    assert FrameForm(steps=None).launches(19, may_end_early=True) == [FEW] * 4 + [3]
    assert FrameForm().launches(2, may_end_early=False) == [1, 1]
    assert [FrameForm(steps=n).launches(0, may_end_early=False) for n in (1, 4, None)] == [[], [], []]


def test_every_captured_engine_is_a_name_of_the_axis_and_the_other_way_round():
    assert ("auto", *ENGINES) == axes.ENGINES


def chosen_engine(name, device, arch=None, dtype=torch.float32, **kwargs):
    return choose_engine(name, arch or gaze_model("tiny", 12).arch, device, dtype, **kwargs)


@pytest.fixture
def some_gpu(monkeypatch):
    """Pretend that the questions about capabilities are asked of an A100."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (8, 0))


def test_without_cuda_the_captured_engines_say_what_would_do():
    assert chosen_engine("auto", CPU) in ("eager", "native")
    with pytest.raises(BackendUnavailable, match=r"engine 'graph'.*move it to a CUDA device"):
        chosen_engine("graph", CPU)


def test_auto_is_the_fastest_that_runs_and_eager_where_it_samples(some_gpu):
    assert chosen_engine("auto", CUDA) == "triton", "variants are to be measured, not taken"
    assert all(chosen_engine(name, CUDA) == name for name in OF_TRITON if name != "triton_dependent")
    assert chosen_engine("auto", CUDA, dtype=torch.float64) == "graph"
    assert chosen_engine("auto", CUDA, samples=True) == "eager"
    with pytest.raises(BackendUnavailable, match="sample"):
        chosen_engine("graph", CUDA, samples=True)


def test_kernels_that_overlap_are_refused_where_they_cannot(some_gpu, monkeypatch):
    monkeypatch.setattr(dependent_launch, "obstacle", lambda device: None)
    assert chosen_engine("triton_dependent", CUDA) == "triton_dependent"
    monkeypatch.setattr(dependent_launch, "obstacle", lambda device: "needs another GPU")
    with pytest.raises(BackendUnavailable, match="'triton_dependent' needs another GPU; use 'triton'"):
        chosen_engine("triton_dependent", CUDA)
    assert chosen_engine("triton_whole_frame", CUDA) == "triton_whole_frame"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"group": 20}, "groups of 20"), ({"heads": 1}, "heads of 48"), ({"mlp_width": 100}, "48 and 100")],
)
def test_what_the_kernels_cannot_compute_is_left_to_the_graph_engine(some_gpu, change, words):
    arch = dataclasses.replace(gaze_model("tiny", 12).arch, **change)
    assert chosen_engine("auto", CUDA, arch) == "graph"
    with pytest.raises(BackendUnavailable, match=words):
        chosen_engine("triton", CUDA, arch)


def test_an_unknown_engine_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'triton'"):
        chosen_engine("tritn", CPU)


def test_a_loop_made_in_inference_mode_serves_other_modes_and_survives_a_broken_clip():
    model = gaze_model("tiny", 12)
    weights = model.gazing_model.gaze_decoder.weights()
    with torch.no_grad():
        vision = model.gazing_model.see(clip(62, 1, 2))
    request = request_for(model, vision, 0.1)
    with torch.inference_mode():
        loop = loop_for(model, vision, request, FrameForm())
    with torch.no_grad():
        expected = generate(weights, vision, request)
        loop.run(weights, vision * float("nan"), request)
        again = loop.run(weights, vision, request)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loop.run(weights, vision, request)
    for frames in (again, under_autocast):
        assert all(torch.equal(a, b) for a, b in zip(frames, expected, strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize("engine", CAPTURED)
@pytest.mark.parametrize("name", CASES)
def test_captured_engines_choose_the_released_patches_on_a_gpu(name, engine):
    case = gaze_case(name)
    model = gaze_model(case["config"], case["weight_seed"])
    if (reason := ENGINES[engine].obstacle(model.arch, CUDA, torch.float32)) is not None:
        pytest.skip(reason)
    model.to("cuda")
    try:
        for video, expected in zip(gaze_video(case), case["per_sample"], strict=True):
            with torch.inference_mode():
                output = model({"video": video[None].cuda()}, engine=engine, **case["kwargs"])
            assert output.gazing_pos.tolist() == expected["gazing_pos"]
    finally:
        model.to("cpu")


@on_the_interpreter
def test_a_gpu_that_cannot_hold_a_variant_takes_the_next_and_the_model_says_so(uncaptured, monkeypatch):
    from triton.runtime.errors import OutOfResources

    from kernels.decode_step import reference, triton

    def too_large(state, weights, sequential=False, ended=None, *, variant):
        if variant == STEPS["ieee"]:
            return reference.step(state, weights, sequential, ended=ended)
        raise OutOfResources(155648, 101376, "shared memory")

    monkeypatch.setattr(triton, "step", too_large)
    case = gaze_case(WHOLE_PICTURES[0])
    model = gaze_model(case["config"], case["weight_seed"])
    assert model.gazing_model.engine_remarks() == []
    video = {"video": gaze_video(case)[:1, :2]}
    with torch.inference_mode():
        found, expected = (model(video, gazing_ratio=0.1, engine=name) for name in ("triton", "eager"))
    assert found.gazing_pos.tolist() == expected.gazing_pos.tolist()
    assert model.gazing_model.engine_remarks() == [
        "triton wants 155648 of shared memory in a block and this GPU has 101376; "
        "triton_combine_in_attend wants 155648 of shared memory in a block and this GPU has 101376: "
        "triton_ieee is launched instead"
    ]
