"""Kernels that overlap wait for the ones before them, before they touch anything but weights or return."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from triton.runtime.interpreter import GridExecutor, InterpreterBuilder

from kernels import dependent_launch
from kernels.gpus import GPUS, assuming
from kernels.registry import OPERATIONS

CPU = torch.device("cpu")
on_the_interpreter = pytest.mark.skipif(
    torch.cuda.is_available(), reason="kernels are compiled here, and their accesses are not seen"
)
WITH_DEPENDENT = [name for name, operation in OPERATIONS.items() if "dependent" in operation.variants]


def tensors_of(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, tuple):
        for each in value:
            yield from tensors_of(each)
    elif isinstance(value, SimpleNamespace):
        yield from tensors_of(tuple(vars(value).values()))


@contextmanager
def hasty_accesses(weights: Any) -> Iterator[list[str]]:
    """Collect what programs do before their first barrier but read ``weights``, and programs without one."""
    found: list[str] = []
    waited = [True]
    kept = [(each.data_ptr(), each.data_ptr() + each.nbytes) for each in tensors_of(weights)]

    def of_weights(pointers: Any, mask: Any) -> bool:
        addresses = pointers.data[mask.data]
        inside = [(addresses >= begin) & (addresses < end) for begin, end in kept]
        return bool(sum(inside).all())

    def watch(patch: pytest.MonkeyPatch, target: Any, name: str, before: Any) -> None:
        original = getattr(target, name)

        def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
            before(*args)
            return original(self, *args, **kwargs)

        patch.setattr(target, name, watched)

    def begun(*_: Any) -> None:
        if not waited[0]:
            found.append("a program ended without having waited")
        waited[0] = False

    def loaded(pointers: Any, mask: Any, *_: Any) -> None:
        if not waited[0] and not of_weights(pointers, mask):
            found.append("something was read")

    def written(*_: Any) -> None:
        if not waited[0]:
            found.append("something was written")

    with pytest.MonkeyPatch.context() as patch:
        watch(patch, InterpreterBuilder, "set_grid_idx", begun)
        watch(patch, InterpreterBuilder, "create_barrier", lambda: waited.__setitem__(0, True))
        watch(patch, InterpreterBuilder, "create_masked_load", loaded)
        watch(patch, InterpreterBuilder, "create_masked_store", written)
        watch(patch, InterpreterBuilder, "create_atomic_rmw", written)
        yield found
        begun()


def run(operation: str, form: str, shape: int = 0) -> list[str]:
    one = OPERATIONS[operation]
    inputs = one.inputs(one.tested_shapes[shape], torch.float32, CPU)
    call = {"fast": one.fast, **one.variants}[form]
    with hasty_accesses(inputs["weights"]) as found:
        call(**inputs)
    return found


@on_the_interpreter
@pytest.mark.parametrize("operation", WITH_DEPENDENT)
def test_nothing_but_weights_is_touched_before_the_wait_and_every_program_waits(operation: str) -> None:
    assert run(operation, "dependent") == []


@on_the_interpreter
def test_a_video_that_has_finished_waits_too() -> None:
    operation = OPERATIONS["decode_step"]
    inputs = operation.inputs(operation.tested_shapes[1], torch.float32, CPU)
    inputs["state"].finished.fill_(True)
    with hasty_accesses(inputs["weights"]) as found:
        operation.variants["dependent"](**inputs)
    assert found == []


@on_the_interpreter
@pytest.mark.parametrize("operation", WITH_DEPENDENT)
def test_kernels_that_do_not_wait_are_found_out(operation: str) -> None:
    assert {"something was read", "something was written"} <= set(run(operation, "fast"))


@on_the_interpreter
def test_all_launches_of_the_variant_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    options: list[dict[str, Any]] = []
    monkeypatch.setattr(dependent_launch, "LAUNCH", {"launch_pdl": True})
    monkeypatch.setattr(GridExecutor, "__call__", lambda self, *args, **kwargs: options.append(kwargs))
    for name in WITH_DEPENDENT:
        operation = OPERATIONS[name]
        inputs = operation.inputs(operation.tested_shapes[0], torch.float32, CPU)
        for form in (operation.fast, operation.variants["dependent"]):
            options.clear()
            form(**inputs)
            overlaps = form is not operation.fast
            assert len(options) == 2 + 5 * 2
            assert {each.get("DEPENDENT", False) for each in options} == {overlaps}
            assert {each.get("launch_pdl", False) for each in options} == {overlaps}


def test_older_gpus_and_a_triton_without_it_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependent_launch, "INTERPRETED", SimpleNamespace(value=False))
    for gpu in GPUS:
        with assuming(gpu):
            reason = dependent_launch.obstacle(torch.device("cuda"))
            assert (reason is None) == (gpu.capability >= 90)
            assert reason is None or "compute capability 9.0 or newer" in reason
            launchable = OPERATIONS["decode_step"].launchable(torch.device("cuda"))
            assert ("dependent" in launchable) == (gpu.capability >= 90)
    monkeypatch.setattr(dependent_launch, "gdc_wait", None)
    with assuming(GPUS[-1]):
        assert "lacks; install 3.6 or newer" in str(dependent_launch.obstacle(torch.device("cuda")))
