from dataclasses import dataclass
from typing import Any

import pytest
import torch

from bench.fingerprint import fingerprint


@dataclass
class Output:
    patches: torch.Tensor
    extra: Any = None


def test_equal_outputs_have_equal_fingerprints() -> None:
    outputs = [{"gaze": Output(torch.arange(6)), "scales": [32, 64], "name": None} for _ in range(2)]
    assert fingerprint(outputs[0]) == fingerprint(outputs[1]) is not None


@pytest.mark.parametrize(
    "other",
    [
        Output(torch.arange(6).flip(0)),
        Output(torch.arange(6).view(2, 3)),
        Output(torch.arange(6, dtype=torch.int32)),
        Output(torch.arange(6), extra=1),
        Output(torch.arange(6), extra=[]),
        (torch.arange(6), None),
    ],
)
def test_outputs_that_differ_in_value_shape_type_or_structure_do_not(other: Any) -> None:
    assert fingerprint(other) != fingerprint(Output(torch.arange(6)))


def test_bfloat16_and_scalars_of_no_dimension_can_be_told() -> None:
    assert fingerprint(torch.ones(3, dtype=torch.bfloat16)) != fingerprint(
        torch.zeros(3, dtype=torch.bfloat16)
    )
    assert fingerprint(torch.tensor(1.0)) == fingerprint(torch.tensor(1.0))


def test_what_is_not_known_has_no_fingerprint() -> None:
    assert fingerprint([torch.ones(1), object()]) is None
