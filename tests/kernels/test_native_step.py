"""The native step does what the reference does, on any number of threads; where it cannot be built it says
why."""

import copy
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from kernels.decode_step import native, reference
from kernels.registry import OPERATIONS

OPERATION = OPERATIONS["decode_step"]
SIZES = native.Sizes(heads=3, head_dim=16, mlp_width=96, group=10)
CPU = torch.device("cpu")


def inputs_of(shape):
    inputs = OPERATION.inputs(shape, torch.float32, CPU)
    return inputs["state"], inputs["weights"]


@pytest.fixture
def two_videos():
    """Return state and weights of two videos of different lengths in the middle of a frame."""
    return inputs_of(OPERATION.tested_shapes[1])


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    """Have everything built anew, into an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native.library.cache_clear()
    yield tmp_path / "cache"
    native.library.cache_clear()


def stepped(step, state, weights, steps=1, sequential=False):
    """Return the state after some steps, and the last predictions."""
    state = copy.deepcopy(state)
    for _ in range(steps):
        predictions = step(state, weights, sequential)
    return state, predictions


def small_parts(state):
    return {name: value for name, value in vars(state).items() if name not in ("keys", "values")}


# Within a chunk of keys, at its edges with the group on both sides of them, and many chunks.
LENGTHS = [1, 15, 245, 246, 251, 256, 257, 700]


@pytest.mark.parametrize("sequential", [False, True], ids=["released", "sequential"])
@pytest.mark.parametrize("cached", LENGTHS)
def test_a_step_behind_any_number_of_keys_is_the_reference_s(cached, sequential):
    state, weights = inputs_of({**OPERATION.tested_shapes[1], "cached": max(cached, 10)})
    state.length[0] = cached
    state.step_position.clamp_(min=0)
    (expected, logits), (found, ours) = (
        stepped(step, state, weights, sequential=sequential) for step in (reference.step, native.step)
    )
    assert (ours - logits).abs().max() / logits.std() <= OPERATION.tolerance[torch.float32]
    for name, value in small_parts(expected).items():
        assert torch.equal(getattr(found, name), value), name
    for name in ("keys", "values"):
        difference = getattr(found, name) - getattr(expected, name)
        assert difference[..., :-1, :].abs().max() < 1e-5, name


def test_the_full_size_step_is_the_reference_s():
    shape = OPERATION.tested_shapes[-1]
    inputs = OPERATION.inputs(shape, torch.float32, CPU)
    found = native.step(copy.deepcopy(inputs["state"]), inputs["weights"])
    assert OPERATION.disagreement(inputs, found) <= OPERATION.tolerance[torch.float32]


@pytest.mark.parametrize("change", [{"group": 7}, {"group": 16}, {"head_dim": 32}, {"heads": 1, "layers": 1}])
def test_other_sizes_are_computed_too(change):
    state, weights = inputs_of({**OPERATION.tested_shapes[1], **change})
    (_, logits), (_, ours) = (stepped(step, state, weights) for step in (reference.step, native.step))
    assert (ours - logits).abs().max() / logits.std() <= OPERATION.tolerance[torch.float32]


def test_requirement_and_budget_end_frames_as_in_the_reference(two_videos):
    state, weights = two_videos
    state.budget.fill_(24)
    losses = stepped(reference.step, state, weights)[1][0, -10:].sort().values
    state.requirement[0] = (losses[4] + losses[5]) / 2  # not a loss itself, which rounding would decide on
    expected = stepped(reference.step, state, weights, steps=2)[0]
    found = stepped(native.step, state, weights, steps=2)[0]
    assert expected.finished.all()
    for name, value in small_parts(expected).items():
        assert torch.equal(getattr(found, name), value), name


def test_a_finished_video_is_left_alone(two_videos):
    state, weights = two_videos
    state.finished[0] = True
    found, predictions = stepped(native.step, state, weights)
    assert not predictions[0].any()
    assert torch.equal(found.keys[:, 0], state.keys[:, 0])
    assert torch.equal(found.chosen[0], state.chosen[0])
    alone = stepped(reference.step, state, weights)[0]
    assert torch.equal(found.chosen[1], alone.chosen[1])


@pytest.fixture
def threads():
    """Return what sets torch's number of threads, until the test is over."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_any_number_of_threads_gives_the_same_bits(threads):
    state, weights = inputs_of({**OPERATION.tested_shapes[1], "cached": 600})
    results = []
    for number in (1, 2, 5, 3):
        threads(number)
        results.append(stepped(native.step, state, weights, steps=2)[1])
    assert all(torch.equal(result, results[0]) for result in results[1:])


def test_a_forked_child_has_workers_of_its_own():
    script = (
        "import os, torch; torch.set_num_threads(2)\n"
        "from tests.kernels.test_native_step import OPERATION, inputs_of, native, stepped\n"
        "state, weights = inputs_of(OPERATION.tested_shapes[0])\n"
        "before = stepped(native.step, state, weights)[1]\n"
        "child = os.fork()\n"
        "same = torch.equal(stepped(native.step, state, weights)[1], before)\n"
        "os._exit(not same) if child == 0 else exit(os.waitpid(child, 0)[1])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], timeout=120, check=False).returncode == 0


def test_a_full_cache_is_not_written_past(two_videos):
    state, weights = two_videos
    state.length.fill_(state.keys.shape[3] - 5)
    with pytest.raises(IndexError, match="does not fit"):
        native.step(state, weights)


def test_a_library_is_built_once_and_kept(fresh_cache):
    native.library(SIZES)
    (built,) = (fresh_cache / "autogaze").iterdir()
    modified = built.stat().st_mtime_ns
    native.library.cache_clear()
    native.library(SIZES)
    assert [path.stat().st_mtime_ns for path in (fresh_cache / "autogaze").iterdir()] == [modified]


def test_without_a_compiler_it_says_what_to_install(fresh_cache, monkeypatch):
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(fresh_cache))
    with pytest.raises(native.BuildError, match=r"needs a C compiler and there is none; install gcc"):
        native.library(SIZES)


def test_a_compiler_that_is_not_there_is_named(fresh_cache, monkeypatch):
    monkeypatch.setenv("CC", "nocc -m64")
    with pytest.raises(native.BuildError, match=r"CC names 'nocc -m64'"):
        native.library(SIZES)


def test_what_the_compiler_complains_about_is_told(fresh_cache, monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_text("#!/bin/sh\necho 'native.c:1: error: no headers here' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(native.BuildError, match=r"cannot be compiled by .*no headers here.*install"):
        native.library(SIZES)
    assert not list((fresh_cache / "autogaze").iterdir())


def test_a_folder_that_cannot_be_written_is_named(fresh_cache, monkeypatch):
    fresh_cache.write_text("a file where the folder should be")
    with pytest.raises(native.BuildError, match=r"set XDG_CACHE_HOME"):
        native.library(SIZES)


@pytest.mark.parametrize("change", [{"group": 17}, {"head_dim": 24}, {"mlp_width": 100}])
def test_sizes_that_do_not_fit_the_lanes_are_refused(change):
    assert native.misfit(SIZES) is None
    assert str(next(iter(change.values()))) in native.misfit(replace(SIZES, **change))


def test_a_change_of_flags_processor_or_source_is_another_library(monkeypatch):
    command = ["true", "-O3"]
    before = native._fingerprint(command)
    assert native._fingerprint([*command, "-DHEADS=3"]) != before
    monkeypatch.setattr(native, "_processor", lambda: b"another")
    assert native._fingerprint(command) != before
