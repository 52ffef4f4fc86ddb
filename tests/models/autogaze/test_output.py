"""Two choices of patches are held against each other."""

import torch

from autogaze.models.autogaze.output import GazeOutput, gazing_masks
from autogaze.patches import PatchGrid

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
