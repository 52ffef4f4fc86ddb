"""What every patch would gain along given gazes."""

import pytest
import torch

from autogaze.errors import InputError
from autogaze.gaze.output import gaze_output
from autogaze.labelling import IncrementalReconstruction
from autogaze.labelling.gain_estimator import GainEstimator
from autogaze.labelling.patch_gains import estimated_gains
from tests.labelling.examples import PATCHES, clips, plain_loss, small_task

RATES = (0.5, 1.0)
GAZES = [[[3, 8, 11, 0, 19], [7, 1, 12, 4, 5]], [[0, 1, 2, 3, 4], [19, 18, 17, 16, 15]]]
"""Patches of two frames for each of two clips."""


def given(gazes=GAZES):
    frames = [torch.tensor([clip[t] for clip in gazes]) for t in range(2)]
    return gaze_output(frames, small_task().config.grid, requirement=None)


def test_losses_are_true_ones_where_the_frame_is_looked_at():
    task, video = small_task(), clips(2, 2)
    losses = estimated_gains(task, video, given(), RATES, group=3).losses
    assert losses.shape == (2, 10)
    for clip in range(2):
        for frame in range(2):
            for count in (3, 5):
                gazes = [*GAZES[clip][:frame], GAZES[clip][frame][:count]]
                expected = plain_loss(task, video[clip], gazes)
                assert losses[clip, 5 * frame + count - 1].item() == pytest.approx(expected, rel=1e-5)


def test_estimates_are_what_the_search_would_go_by():
    task, video = small_task(), clips(1, 1)
    gaze = gaze_output([torch.tensor([[9, 2]])], task.config.grid, requirement=None)
    estimated = estimated_gains(task, video, gaze, RATES, group=1).estimated
    assert estimated.shape == (1, 2, PATCHES)
    estimator = GainEstimator(task.config.grid, 1, video.device, RATES)
    first, nothing = torch.tensor([0]), torch.zeros(1, PATCHES, dtype=torch.bool)
    blank = task.forward_output({"video_for_task": video}, _empty(task))["reconstruction"]
    estimator.begin(video[:, 0], blank[:, 0], IncrementalReconstruction(task, video).frames_at_best([0]))
    assert estimated[0, 0].argmax() == estimator.best(first, nothing, 1)[0, 0]


def test_inside_a_group_a_patch_that_was_taken_would_gain_no_more():
    task, video = small_task(), clips(1, 1)
    anything = gaze_output([torch.tensor([[0]])], task.config.grid, requirement=None)
    finest = estimated_gains(task, video, anything, RATES, group=1).estimated[0, 0, 4:]
    first, second, elsewhere = (4 + int(patch) for patch in finest.argsort(descending=True)[:3])
    gaze = gaze_output([torch.tensor([[first, second]])], task.config.grid, requirement=None)
    estimated = estimated_gains(task, video, gaze, RATES, group=2).estimated[0]
    assert estimated[0, first] > 0
    assert estimated[1, first] == 0
    assert estimated[0, elsewhere] == estimated[1, elsewhere] > 0


def test_rates_of_other_scales_and_gazes_with_padding_are_refused():
    with pytest.raises(InputError, match=r"gain rates \[1.0\] must be one for each of the 2 scales"):
        estimated_gains(small_task(), clips(2, 2), given(), (1.0,), 3)
    with pytest.raises(InputError, match="gains need gain rates"):
        estimated_gains(small_task(), clips(2, 2), given(), (), 3)
    padded = given()
    padded.if_padded_gazing[0, 1] = True
    with pytest.raises(InputError, match="without padding"):
        estimated_gains(small_task(), clips(2, 2), padded, RATES, 3)


def _empty(task):
    return gaze_output([torch.empty(1, 0, dtype=torch.int64)], task.config.grid, requirement=None)
