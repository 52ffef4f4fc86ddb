import pytest
import torch

from autogaze.errors import InputError
from autogaze.gaze.output import concatenated
from autogaze.models.autogaze import AutoGazeConfig
from autogaze.selectors import SELECTORS
from autogaze.training.algorithms.objective import Moment
from autogaze.training.masks import MaskMixture
from tests.reference.fill import clip

FRAMES = 2
STEPS = 10
VIDEO = clip(0, 4, FRAMES)
RATIOS = {
    "sample_strategy_during_training": "exponential",
    "exponential": {"gazing_ratio_min": 0.02, "gazing_ratio_max": 0.5, "lambda": 10.0},
}
DIRICHLET = {"sample_strategy_during_training": "dirichlet", "dirichlet": {"alpha": "10,3"}}


def mixture(selectors, group_size=1, each_frame=DIRICHLET):
    config = AutoGazeConfig(gazing_ratio_config=RATIOS, gazing_ratio_each_frame_config=each_frame)
    return MaskMixture(selectors, config, config.architecture().grid, group_size)


def patches(gaze, video):
    return gaze.gazing_pos[video][~gaze.if_padded_gazing[video]].tolist()


@pytest.mark.parametrize("group_size", [1, 2, 3])
def test_a_video_is_given_the_same_patches_wherever_the_batch_is_cut(group_size):
    masks = mixture({"random": 1, "laplacian": 1}, group_size)
    whole = masks.draw(VIDEO, Moment(0, 3, STEPS))
    for first, count in ((0, 2), (2, 2), (3, 1), (1, 3)):
        part = masks.draw(VIDEO[first : first + count], Moment(0, 3, STEPS, first))
        for video in range(count):
            assert patches(part, video) == patches(whole, first + video)


def test_draws_differ_between_videos_and_steps():
    masks = mixture({"random": 1})
    drawn = [
        tuple(patches(masks.draw(VIDEO, Moment(0, step, STEPS)), video))
        for step in (0, 1)
        for video in range(4)
    ]
    assert len(set(drawn)) == len(drawn)
    assert len({len(each) for each in drawn}) > 4


def test_videos_of_a_group_share_selector_and_budgets():
    gaze = mixture({"random": 1}, group_size=2).draw(VIDEO, Moment(0, 0, STEPS))
    counts = gaze.gazes_each_frame().tolist()
    assert counts[0] == counts[1] != counts[2] == counts[3]


def test_selectors_come_in_proportion_to_their_weights():
    video = torch.zeros(200, FRAMES, 3, 224, 224)
    gaze = mixture({"coarse_first": 3, "centre": 1, "random": 0}).draw(video, Moment(0, 0, STEPS))
    coarse = sum(patches(gaze, number)[0] < 4 for number in range(200))
    assert 130 < coarse < 170


def test_batches_put_together_keep_their_gazes():
    gazes = [SELECTORS["random"](0)(VIDEO[:2], (3, 9)), SELECTORS["centre"](0)(VIDEO[2:], (5, 1))]
    together = concatenated(gazes, mixture({"random": 1}).grid)
    assert together.num_gazing_each_frame.tolist() == [5, 9]
    for video in range(4):
        assert patches(together, video) == patches(gazes[video // 2], video % 2)


@pytest.mark.parametrize(
    ("selectors", "group_size", "message"),
    [
        ({"randon": 1}, 1, "did you mean 'random'"),
        ({"random": -1}, 1, "at least 0"),
        ({"random": 0}, 1, "no selector of a weight above 0"),
        ({}, 1, "no selector of a weight above 0"),
        ({"random": 1}, 0, "must be at least 1"),
    ],
)
def test_mixtures_that_cannot_be_drawn_from_are_refused(selectors, group_size, message):
    with pytest.raises(InputError, match=message):
        mixture(selectors, group_size)


def test_the_strategy_that_needs_a_gaze_model_is_refused():
    own = {"sample_strategy_during_training": "self", "self": {}}
    with pytest.raises(InputError, match="'self', which needs a gaze model"):
        mixture({"random": 1}, each_frame=own).draw(VIDEO, Moment(0, 0, STEPS))
