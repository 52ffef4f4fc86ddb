"""Two choices of patches are held against each other."""

from dataclasses import dataclass

import pytest
import torch

from autogaze.gaze.grid import PatchGrid
from autogaze.gaze.output import GazeOutput, KeyedOutput, gazing_masks

GRID = PatchGrid((32, 64), 16)


def gaze_of(*frames):
    """Return the output of one video that chose these patches in each frame."""
    positions = [20 * t + patch for t, patches in enumerate(frames) for patch in patches]
    gazing_pos = torch.tensor([positions], dtype=torch.int64)
    padded = torch.zeros_like(gazing_pos, dtype=torch.bool)
    slots = torch.tensor([len(patches) for patches in frames])
    masks = gazing_masks(gazing_pos, padded, len(frames), GRID)
    return GazeOutput(gazing_pos, padded, slots, masks, list(GRID.scales), GRID.patches_per_frame)


def test_agreement_is_the_share_of_the_larger_choice_and_order_does_not_count():
    ours = gaze_of([1, 2, 3, 4], [5, 6], [7], [])
    theirs = gaze_of([4, 3, 2, 1], [5], [8], [])
    assert ours.agreement(theirs).tolist() == [[1.0, 0.5, 0.0, 1.0]]
    assert theirs.agreement(ours).tolist() == [[1.0, 0.5, 0.0, 1.0]]


@dataclass
class Example(KeyedOutput):
    first: int = 1
    second: int | None = None

    def method(self) -> None: ...


def test_fields_are_keys() -> None:
    output = Example(first=3)
    assert dict(output) == {"first": 3, "second": None}
    assert output["first"] == output.first
    assert len(output) == 2


@pytest.mark.parametrize("key", ["third", "method", "keys"])
def test_nothing_else_is_a_key(key: str) -> None:
    assert key not in Example()
    with pytest.raises(KeyError, match=key):
        Example()[key]
