"""Every kernel does what its reference says, on odd shapes and in every precision."""

import pytest
import torch

from kernels.registry import OPERATIONS

CASES = [
    pytest.param(operation, shape, dtype, id=f"{name}-{'-'.join(map(str, shape.values()))}-{dtype}"[:100])
    for name, operation in OPERATIONS.items()
    for shape in operation.tested_shapes
    for dtype in operation.tolerance
]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(("operation", "shape", "dtype"), CASES)
def test_the_fast_form_agrees_with_the_reference(operation, shape, dtype):
    inputs = operation.inputs(shape, dtype, DEVICE)
    error = operation.disagreement(inputs, operation.fast(**inputs))
    assert error <= operation.tolerance[dtype], (
        f"{operation.name} {dict(shape)} {dtype}: relative error {error:.1e}"
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name, each in OPERATIONS.items() if each.native for shape in each.tested_shapes],
)
def test_the_native_form_agrees_with_the_reference(name, shape):
    operation = OPERATIONS[name]
    inputs = operation.inputs(shape, torch.float32, torch.device("cpu"))
    error = operation.disagreement(inputs, operation.native(**inputs))
    assert error <= operation.tolerance[torch.float32], f"{name} {dict(shape)}: relative error {error:.1e}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_inputs_are_seeded_and_work_is_counted(name):
    operation = OPERATIONS[name]
    shape = operation.tested_shapes[0]
    first, second = (operation.inputs(shape, torch.float32, DEVICE) for _ in range(2))
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key])
    for timed in operation.timed_shapes:
        flops, moved = operation.work(timed, 2)
        assert flops > 0
        assert moved > 0
        assert operation.work(timed, 4)[1] == 2 * moved


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_wrong_result_is_seen(name):
    operation = OPERATIONS[name]
    inputs = operation.inputs(operation.tested_shapes[1], torch.float32, DEVICE)
    result = operation.reference(**inputs).contiguous().clone()
    assert operation.disagreement(inputs, result) == 0
    result.view(-1)[result.numel() // 2] += result.std() * 1e-3
    assert operation.disagreement(inputs, result) > operation.tolerance[torch.float32]
