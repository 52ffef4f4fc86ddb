"""Every kernel does what its reference says, on odd shapes and in every precision."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import kernels
from kernels.registry import OPERATIONS

CASES = [
    pytest.param(operation, shape, dtype, id=f"{name}-{'-'.join(map(str, shape.values()))}-{dtype}"[:100])
    for name, operation in OPERATIONS.items()
    for shape in operation.tested_shapes
    for dtype in operation.tolerance
]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def test_every_folder_with_a_definition_is_an_operation_of_that_name():
    folders = {path.parent.name for path in Path(kernels.__file__).parent.glob("*/reference.py")}
    assert set(OPERATIONS) == folders
    assert {operation.name: operation for operation in OPERATIONS.values()} == OPERATIONS


def test_a_folder_brings_all_of_its_operation_along(tmp_path):
    """With a copy of a folder and its name in the list, and no other change, there is one operation more."""
    package = tmp_path / "kernels"
    shutil.copytree(Path(kernels.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(package / "block_causal_attention", package / "another_attention")
    for path, old, new in (
        (package / "another_attention/operation.py", "block_causal_attention", "another_attention"),
        (package / "__init__.py", '    "decode_step",', '    "decode_step", "another_attention",'),
    ):
        path.write_text(path.read_text().replace(old, new))
    script = (
        "from kernels.registry import OPERATIONS; import torch\n"
        "one = OPERATIONS['another_attention']\n"
        "inputs = one.inputs(one.tested_shapes[1], torch.float32, torch.device('cpu'))\n"
        "print(one.name, one.disagreement(inputs, one.reference(**inputs)), len(OPERATIONS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["another_attention", "0.0", str(len(OPERATIONS) + 1)]


@pytest.mark.parametrize(("operation", "shape", "dtype"), CASES)
def test_the_fast_form_and_its_variants_agree_with_the_reference(operation, shape, dtype):
    # What variants change is the same for both half precisions, and the interpreter takes its time.
    variants = {} if dtype == torch.float16 else operation.launchable(DEVICE)
    for name, form in {"fast": operation.fast, **variants}.items():
        inputs = operation.inputs(shape, dtype, DEVICE)
        error = operation.disagreement(inputs, form(**operation.again(inputs)))
        assert error <= operation.tolerance[dtype], (
            f"{operation.name} {name} {dict(shape)} {dtype}: relative error {error:.1e}"
        )


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name, each in OPERATIONS.items() if each.native for shape in each.tested_shapes],
)
def test_the_native_form_agrees_with_the_reference(name, shape):
    operation = OPERATIONS[name]
    inputs = operation.inputs(shape, torch.float32, torch.device("cpu"))
    error = operation.disagreement(inputs, operation.native(**operation.again(inputs)))
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
    result = operation.reference(**operation.again(inputs)).contiguous().clone()
    assert operation.disagreement(inputs, result) == 0
    result.view(-1)[result.numel() // 2] += result.std() * 1e-3
    assert operation.disagreement(inputs, result) > operation.tolerance[torch.float32]
