"""What a patch index means: which part of the frame."""

import torch

from autogaze.gaze.grid import PatchGrid, cover


def test_the_cover_of_each_scale_is_the_frame() -> None:
    covered = cover(PatchGrid((32, 64, 112), 16))
    for first, count in ((0, 4), (4, 16), (20, 49)):
        torch.testing.assert_close(covered[first : first + count].sum(dim=0), torch.ones(7, 7))
