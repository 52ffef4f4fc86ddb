"""Trying patches one frame at a time gives what the whole model gives."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autogaze.errors import InputError
from autogaze.labelling import IncrementalReconstruction
from autogaze.tasks.video_mae_reconstruction.incremental import trial_work
from tests.labelling.examples import PATCHES, clips, plain_loss, plain_output, small_task
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, reconstructor

GAZES = [[[3, 17, 0], [5], [19, 2]], [[8], [1, 12, 4, 7], [6]]]
"""Of two clips, three frames each."""


def test_every_frame_is_reconstructed_as_by_the_whole_model() -> None:
    task, video = small_task(), clips(2, 3)
    incremental = IncrementalReconstruction(task, video)
    for t in range(3):
        sets = torch.tensor([[[9, 4], [11, 0]], [[18, 16], [2, 3]]])
        frames = incremental.frames([0, 1], sets)
        losses = incremental.losses([0, 1], frames)
        for clip in range(2):
            for number, patches in enumerate(sets[clip].tolist()):
                plain = plain_output(task, video[clip], [*GAZES[clip][:t], patches])
                torch.testing.assert_close(frames[clip, number], plain["reconstruction"][0, 0])
                torch.testing.assert_close(losses[clip, number], plain["reconstruction_loss"][0])
        incremental.advance([gazes[t] for gazes in GAZES])


def test_a_frame_without_a_patch_is_reconstructed_from_the_frames_before() -> None:
    task, video = small_task(), clips(1, 2)
    incremental = IncrementalReconstruction(task, video)
    for gazes in ([[]], [[4, 13], []]):
        frames = incremental.frames([0], torch.empty(1, 1, 0, dtype=torch.int64))
        assert float(incremental.losses([0], frames)) == pytest.approx(plain_loss(task, video[0], gazes))
        incremental.advance([[4, 13]])


def test_a_frame_at_its_best_has_all_patches_of_a_scale() -> None:
    task, video = small_task(), clips(2, 2)
    incremental = IncrementalReconstruction(task, video)
    incremental.advance([[3], [8, 1]])
    scales = (range(4), range(4, PATCHES))
    for frames, patches in zip(incremental.frames_at_best([0, 1]), scales, strict=True):
        for clip, before in enumerate(([3], [8, 1])):
            plain = plain_output(task, video[clip], [before, list(patches)])
            torch.testing.assert_close(frames[clip], plain["reconstruction"][0, 0])


def test_clips_may_be_left_out() -> None:
    task, video = small_task(), clips(3, 1)
    frames = IncrementalReconstruction(task, video).frames([2], torch.tensor([[[7]]]))
    torch.testing.assert_close(frames[0, 0], plain_output(task, video[2], [[7]])["reconstruction"][0, 0])


def test_feature_losses_are_those_of_the_whole_model() -> None:
    task, video = reconstructor(**ALL_LOSSES), clips(1, 2, size=224)
    incremental = IncrementalReconstruction(task, video)
    incremental.advance([[30]])
    sets = torch.tensor([[[5, 250], [40, 41]]])
    losses = incremental.losses([0], incremental.frames([0], sets))
    for found, patches in zip(losses[0].tolist(), sets[0].tolist(), strict=True):
        assert found == pytest.approx(plain_loss(task, video[0], [[30], patches]), rel=1e-5)


def test_without_time_and_scale_embeddings_it_works_too() -> None:
    task, video = small_task(time_embed=False, scale_embed=False), clips(1, 1)
    incremental = IncrementalReconstruction(task, video)
    losses = incremental.losses([0], incremental.frames([0], torch.tensor([[[6, 1]]])))
    assert float(losses) == pytest.approx(plain_loss(task, video[0], [[6, 1]]))


def test_a_trial_costs_no_more_than_the_least_possible() -> None:
    task = small_task()
    incremental = IncrementalReconstruction(task, clips(1, 2))
    incremental.advance([[1, 2, 3]])
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        incremental.frames([0], torch.tensor([[[4, 5]]]))
    assert counter.get_total_flops() == trial_work(task.config, chosen=2, before=3).flops


def test_a_reconstructor_that_looks_ahead_is_refused() -> None:
    with pytest.raises(InputError, match="not causal"):
        IncrementalReconstruction(small_task(causal=False), clips(1, 2))


def test_a_video_of_another_size_is_refused() -> None:
    with pytest.raises(InputError, match="video_for_task"):
        IncrementalReconstruction(small_task(), clips(1, 2, size=32))
