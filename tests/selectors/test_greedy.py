"""The greedy selector chooses as the label maker does."""

import torch

from autogaze.embedded.reconstructor import seeded_reconstructor
from autogaze.labelling import greedy_gaze
from autogaze.models.autogaze import AutoGazeConfig
from autogaze.selectors import GreedySelector


def test_the_greedy_search_gives_the_label_makers_patches_in_its_order() -> None:
    task = seeded_reconstructor()
    video = torch.randn(2, 2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    gaze = GreedySelector(AutoGazeConfig().architecture().grid, task)(video, [2, 1])
    labels = greedy_gaze(task, video, [2, 1])
    assert gaze.num_gazing_each_frame.tolist() == [2, 1]
    for positions, label in zip(gaze.gazing_pos.tolist(), labels, strict=True):
        assert tuple(positions) == (*label.gazing_pos[0], 265 + label.gazing_pos[1][0])
