"""Kernels as cells of a run: checked before they are timed, and refused where times would mean nothing."""

from typing import Any

import pytest
import torch
from triton.runtime.errors import OutOfResources

from autogaze.errors import BackendUnavailable, InputError
from autogaze.models.autogaze import frame_launches
from kernels.c_compiler import BuildError
from kernels.decode_step import native
from kernels.fitting import Fitting
from kernels.registry import OPERATIONS
from suites import ceilings, kernels
from suites.kernels import Kernel
from suites.loader import load_suite, workload_class
from suites.workload import Inputs

STEP = {"operation": "decode_step", "form": "native", "size": 0, "dtype": "float32", "memory": "cold"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time; what the ceilings then are means nothing."""
    monkeypatch.setattr(ceilings, "_COPY_BYTES", {"cpu": 2**16})
    monkeypatch.setattr(ceilings, "_MATRIX", {"cpu": 32})
    monkeypatch.setattr(kernels, "REPETITION_BYTES", 2**25)


def kernel(**axes: Any) -> Kernel:
    return Kernel({**STEP, **axes}, Inputs())


def test_it_is_registered() -> None:
    assert workload_class("kernel") is Kernel


def test_the_suite_measures_operations_that_there_are_and_the_workload_takes_all() -> None:
    assert {dict(point.axes)["operation"] for point in load_suite("kernels").points} <= set(OPERATIONS)
    assert Kernel.axes["operation"].known == tuple(OPERATIONS)


@pytest.mark.parametrize("form", ["native", "reference"])
def test_a_repetition_is_calls_on_different_memory_and_counts_their_work(form: str) -> None:
    workload = kernel(form=form)
    calls, copies = len(workload.inputs), workload.details["copies"]
    assert calls >= copies > 1
    assert len({copy["state"].keys.data_ptr() for copy in workload.inputs}) == copies
    quality = workload.quality(workload.run())
    flops, moved = OPERATIONS["decode_step"].work(workload.shape, 4)
    assert quality.counters == {"calls": calls, "flops": calls * flops, "bytes": calls * moved}
    assert 0 <= workload.details["relative_error"] <= 2e-5


def test_a_wrong_result_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OPERATIONS["decode_step"].reference
    broken = {**vars(OPERATIONS["decode_step"]), "native": lambda **inputs: right(**inputs) + 1}
    monkeypatch.setitem(OPERATIONS, "decode_step", type(OPERATIONS["decode_step"])(**broken))
    with pytest.raises(ArithmeticError, match="nothing wrong is timed"):
        kernel()


def test_a_figure_above_a_ceiling_is_not_believed() -> None:
    workload = kernel()
    workload.ceilings = ceilings.Ceilings(bytes_per_second=1e9, flops_per_second=1e12)
    seconds = workload.bytes * len(workload.inputs) / 1e9
    assert workload.impossible([seconds]) is None
    assert "moves 2.00e+09 a second" in (workload.impossible([seconds, seconds / 2]) or "")


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"form": "triton"}, "needs a CUDA device and this is cpu"),
        ({"operation": "block_causal_attention"}, "block_causal_attention has no native form"),
        ({"dtype": "bfloat16"}, "computes float32 on a CPU, and this is bfloat16 on cpu"),
    ],
)
def test_forms_that_cannot_run_are_refused(axes: Any, message: str) -> None:
    with pytest.raises(BackendUnavailable, match=message):
        kernel(**axes)


def test_without_a_compiler_the_native_form_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: native.Sizes) -> None:
        raise BuildError("needs a C compiler and there is none")

    monkeypatch.setattr(native, "library", fail)
    with pytest.raises(BackendUnavailable, match="native form of decode_step needs a C compiler"):
        kernel()


def test_an_unknown_size_is_refused_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"size 99 of decode_step is unknown: known are 0 \(heads=6"):
        kernel(size=99)


def test_devices_that_are_not_the_cpu_have_no_native_form() -> None:
    operation = OPERATIONS["decode_step"]
    with pytest.raises(BackendUnavailable, match="this is float32 on meta"):
        kernels._form(operation, "native", torch.float32, torch.device("meta"))


@pytest.mark.parametrize("memory", ["cold", "hot"])
def test_every_repetition_is_the_same_calls_and_copies_nothing(memory: str) -> None:
    workload = kernel(form="reference", memory=memory)
    states = [inputs["state"] for inputs in workload.inputs]
    groups = [state.group.clone() for state in states]
    first = workload.run()
    assert not torch.equal(states[0].group, groups[0])
    changed = workload.run()
    workload.renew()
    again = workload.run()
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], changed[0])
    assert len({state.group.data_ptr() for state in states}) == len(states)


def test_hot_calls_are_ten_on_the_same_memory() -> None:
    workload = kernel(form="reference", memory="hot")
    assert {copy["state"].keys.data_ptr() for copy in workload.inputs} == {
        workload.inputs[0]["state"].keys.data_ptr()
    }
    assert len(workload.run()) == workload.details["calls"] == kernels.LEAST_CALLS
    assert workload.details["memory"] == "hot"


def test_on_a_gpu_the_calls_are_captured_and_held_against_calls_that_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workload = kernel(form="reference")
    monkeypatch.setattr(frame_launches, "in_cuda_graph", frame_launches.directly)
    launch = workload._captured(workload._calls)
    assert len(launch()) == workload.details["calls"]
    workload.renew()
    first = launch()[0]
    workload.renew()
    assert torch.equal(first, workload._calls()[0])
    workload.renew()
    with pytest.raises(ArithmeticError, match="something else once captured"):
        workload._captured(lambda: [result + 1 for result in workload._calls()])


def test_a_variant_is_a_form_and_one_that_an_operation_has_not_is_said() -> None:
    device = torch.device("cuda")
    for variant, form in OPERATIONS["decode_step"].variants.items():
        assert f"triton_{variant}" in kernels.FORMS
        assert kernels._form(OPERATIONS["decode_step"], f"triton_{variant}", None, device) is form
    with pytest.raises(BackendUnavailable, match="block_causal_attention has no form triton_ieee"):
        kernels._form(OPERATIONS["block_causal_attention"], "triton_ieee", None, device)


def test_the_form_triton_is_the_first_that_the_gpu_can_hold_and_a_note_says_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operation = OPERATIONS["decode_step"]
    assert kernels._form(operation, "triton", None, torch.device("cuda")).taken == "triton"

    def too_large(**inputs: Any) -> None:
        raise OutOfResources(155648, 101376, "shared memory")

    form = Fitting({"triton": too_large, "triton_ieee": operation.reference})
    monkeypatch.setattr(kernels, "_form", lambda *given: form)
    assert kernel(form="triton").notes == [
        "triton wants 155648 of shared memory in a block and this GPU has 101376: triton_ieee is launched "
        "instead"
    ]
