"""The native step does what the reference does, on any number of threads; where it cannot be built it says
why."""

import copy
import errno
import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from kernels.c_compiler import BuildError, find_compiler
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


def fake_compiler(folder, script):
    """Return a command that is a shell script."""
    command = folder / "cc"
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)
    return command


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


def test_calls_at_the_same_time_do_not_disturb_each_other(threads):
    threads(3)
    inputs = OPERATION.inputs({**OPERATION.tested_shapes[0], "cached": 3000}, torch.float32, CPU)
    expected = OPERATION.native(**OPERATION.again(inputs))

    def call(inputs):
        return all(torch.equal(OPERATION.native(**OPERATION.again(inputs)), expected) for _ in range(10))

    with ThreadPoolExecutor(4) as callers:
        assert all(callers.map(call, [copy.deepcopy(inputs) for _ in range(4)]))


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


def test_of_predictions_that_are_no_numbers_none_is_chosen_twice_and_mates_are_left_alone(two_videos):
    state, weights = two_videos
    before = state.chosen.shape[1]
    state.chosen[0, :10] = state.group[0]
    expected = stepped(reference.step, state, weights, steps=2)[0]
    state.keys[:, 0] = float("nan")
    found, predictions = stepped(native.step, state, weights, steps=2)
    assert predictions[0].isnan().all()
    assert found.chosen.shape[1] == before
    assert len(set(found.chosen[0, :30].tolist())) == 30
    assert found.chosen[0, :30].max() < state.eos
    assert torch.equal(found.chosen[1], expected.chosen[1])


def test_the_last_slot_is_stepped_into_and_the_spare_one_behind_it_is_not(two_videos):
    state, weights = two_videos
    state.length.fill_(state.keys.shape[3] - 1 - 10)
    spare = state.keys[..., -1, :].clone()
    found, _ = stepped(native.step, state, weights)
    assert torch.equal(found.keys[..., -1, :], spare)
    state.length += 1
    with pytest.raises(IndexError, match="does not fit behind"):
        native.step(state, weights)


def test_the_default_data_type_does_not_matter(two_videos):
    state, weights = two_videos
    expected = stepped(native.step, state, weights)[1]
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(stepped(native.step, state, weights)[1], expected)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["keys", "values", "length", "group", "chosen", "finished"])
def test_tensors_that_c_would_misread_are_refused(name, two_videos):
    state, weights = two_videos
    setattr(state, name, getattr(state, name).to(torch.bfloat16))
    with pytest.raises(TypeError, match=r"takes contiguous .* and got torch\.bfloat16"):
        native.NativeDecoder(state, weights)


def test_a_state_with_gaps_is_refused_and_weights_with_gaps_are_copied(two_videos):
    state, weights = two_videos
    expected = stepped(native.step, state, weights)[1]
    weights.heads = weights.heads.T.contiguous().T
    assert torch.equal(stepped(native.step, state, weights)[1], expected)
    state.keys = state.keys.mT.contiguous().mT
    with pytest.raises(TypeError, match=r"got torch\.float32 on cpu with shape .* and strides"):
        native.NativeDecoder(state, weights)


def test_weights_of_another_type_are_refused(two_videos):
    state, weights = two_videos
    weights.embedding = weights.embedding.double()
    with pytest.raises(TypeError, match=r"got torch\.float64"):
        native.NativeDecoder(state, weights)


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
    with pytest.raises(BuildError, match=r"needs a C compiler and there is none; install gcc"):
        native.library(SIZES)


@pytest.mark.parametrize("named", ["nocc -m64", "", "gcc 'without an end"])
def test_a_compiler_that_is_not_there_is_named(named, fresh_cache, monkeypatch):
    monkeypatch.setenv("CC", named)
    with pytest.raises(BuildError, match=f"CC names '{named}'"):
        native.library(SIZES)


def test_what_the_compiler_complains_about_is_told(fresh_cache, monkeypatch, tmp_path):
    compiler = fake_compiler(tmp_path, "echo 'native.c:1: error: no headers here' >&2\nexit 1")
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(BuildError, match=r"cannot be compiled by .*no headers here.*install"):
        native.library(SIZES)
    assert not list((fresh_cache / "autogaze").iterdir())


def test_a_compiler_that_cannot_be_run_is_named(fresh_cache, monkeypatch, tmp_path):
    compiler = tmp_path / "cc"
    compiler.write_bytes(b"\0 neither a program nor a script")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(BuildError, match=r"cc cannot be used \(Exec format error\); set CC"):
        native.library(SIZES)


def test_a_compiler_that_gets_stuck_is_given_up(fresh_cache, monkeypatch, tmp_path):
    monkeypatch.setattr(native, "MOST_SECONDS", 0.2)
    monkeypatch.setenv("CC", str(fake_compiler(tmp_path, "exec tail -f /dev/null")))
    with pytest.raises(BuildError, match=r"does not end within 0\.2 seconds"):
        native.library(SIZES)


def test_a_compiler_that_does_not_know_this_processor_builds_for_any(fresh_cache, monkeypatch, tmp_path):
    real, told = shlex.join(find_compiler()), tmp_path / "told"
    refuse = 'case "$*" in *=native*) echo "error: unknown $*" >&2; exit 1;; esac'
    script = f'echo "$*" >> {told}\n{refuse}\nexec {real} "$@"'
    monkeypatch.setenv("CC", str(fake_compiler(tmp_path, script)))
    native.library(SIZES)
    tries = [line for line in told.read_text().splitlines() if "native.c" in line]
    assert ["-march=native" in line for line in tries] == [True, False, False]


@pytest.mark.skipif(sys.platform != "linux", reason="an option of the GNU linker")
def test_what_is_built_depends_on_nothing_but_the_c_library(fresh_cache, monkeypatch, tmp_path):
    real = shlex.join(find_compiler())
    monkeypatch.setenv("CC", str(fake_compiler(tmp_path, f'exec {real} "$@" -Wl,-z,defs')))
    native.library(SIZES)


def test_a_folder_that_cannot_be_written_is_named(fresh_cache, monkeypatch):
    fresh_cache.write_text("a file where the folder should be")
    with pytest.raises(BuildError, match=r"set XDG_CACHE_HOME"):
        native.library(SIZES)


def test_a_folder_that_cannot_even_be_asked_for_is_named(fresh_cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", f"/{'long' * 100}")
    with pytest.raises(BuildError, match=r"File name too long.*set XDG_CACHE_HOME"):
        native.library(SIZES)


def test_a_folder_that_cannot_be_looked_into_is_named(fresh_cache, monkeypatch):
    def exists(path):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(native.Path, "exists", exists)
    with pytest.raises(BuildError, match=r"autogaze \(Permission denied\).*set XDG_CACHE_HOME"):
        native.library(SIZES)


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(native.Path, "home", home)
    monkeypatch.setenv("XDG_CACHE_HOME", "relative folders do not count")
    with pytest.raises(BuildError, match=r"the user has no home; set XDG_CACHE_HOME"):
        native._folder()


@pytest.mark.parametrize("writable", ["folder", "library"])
def test_what_another_user_could_have_written_is_not_loaded(fresh_cache, writable):
    native.library(SIZES)
    folder = fresh_cache / "autogaze"
    (built,) = folder.iterdir()
    (folder if writable == "folder" else built).chmod(0o777)
    native.library.cache_clear()
    with pytest.raises(BuildError, match=r"which other users can write to; remove it"):
        native.library(SIZES)


@pytest.mark.parametrize(("owner", "accepted"), [("user", True), ("root", True), ("another", False)])
def test_code_is_the_user_s_own_or_root_s(owner, accepted):
    number = {"user": os.geteuid(), "root": 0, "another": os.geteuid() + 1}[owner]
    place = SimpleNamespace(stat=lambda: SimpleNamespace(st_uid=number, st_mode=0o40755))
    with nullcontext() if accepted else pytest.raises(BuildError, match="other users can write to"):
        native._require_own(place)


def test_a_library_is_the_user_s_own_whatever_the_umask(fresh_cache):
    before = os.umask(0)
    try:
        native.library(SIZES)
    finally:
        os.umask(before)
    assert not any(
        path.stat().st_mode & 0o022 for path in [fresh_cache / "autogaze", *fresh_cache.rglob("*.so")]
    )


def test_where_there_are_no_posix_threads_it_says_so(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "name", "nt")
        with pytest.raises(BuildError, match="Linux and macOS"):
            find_compiler()


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
