"""The greedy search: the best patch at every step, and never a loss that is not true."""

from typing import Any

import pytest
import torch

from autogaze.errors import InputError
from autogaze.labelling import greedy_frames, greedy_gaze
from tests.labelling.examples import PATCHES, clips, plain_loss, small_task


def test_the_exact_search_takes_the_best_of_all_patches_at_every_step() -> None:
    task, video = small_task(), clips(1, 2)
    (found,) = greedy_gaze(task, video, [3, 2], "exact")
    past: list[list[int]] = []
    for frame, losses in zip(found.gazing_pos, found.task_losses, strict=True):
        for step in range(len(frame)):
            left = [patch for patch in range(PATCHES) if patch not in frame[:step]]
            tried = {patch: plain_loss(task, video[0], [*past, [*frame[:step], patch]]) for patch in left}
            assert frame[step] == min(tried, key=lambda patch: tried[patch])
            assert losses[step] == pytest.approx(min(tried.values()), rel=1e-5)
        past.append(list(frame))


@pytest.mark.parametrize("candidates", [1, 4])
def test_the_accelerated_search_records_true_losses(candidates: int) -> None:
    task, video = small_task(), clips(2, 2)
    for clip, found in zip(video, greedy_gaze(task, video, [5, 3], candidates=candidates), strict=True):
        past: list[list[int]] = []
        for frame, losses in zip(found.gazing_pos, found.task_losses, strict=True):
            for step, loss in enumerate(losses, start=1):
                assert loss == pytest.approx(plain_loss(task, clip, [*past, list(frame[:step])]), rel=1e-5)
            past.append(list(frame))


def test_with_every_patch_a_candidate_the_accelerated_search_is_the_exact_one() -> None:
    task, video = small_task(), clips(2, 2)
    exact = greedy_gaze(task, video, [4, 3], "exact")
    accelerated = greedy_gaze(task, video, [4, 3], "accelerated", candidates=PATCHES)
    assert [clip.gazing_pos for clip in accelerated] == [clip.gazing_pos for clip in exact]


@pytest.mark.parametrize("mode", ["exact", "accelerated"])
def test_budgets_are_filled_without_a_patch_twice(mode: Any) -> None:
    task, video = small_task(), clips(2, 2)
    budgets = [[PATCHES, 1], [2, PATCHES - 1]]
    found = greedy_gaze(task, video, budgets, mode)
    assert [[len(frame) for frame in clip.gazing_pos] for clip in found] == budgets
    assert all(len(set(frame)) == len(frame) for clip in found for frame in clip.gazing_pos)


@pytest.mark.parametrize(("mode", "group"), [("exact", 1), ("accelerated", 1), ("accelerated", 4)])
def test_a_clip_in_a_batch_is_given_what_it_is_given_alone(mode: Any, group: int) -> None:
    task, video = small_task(), clips(3, 2)
    budgets = [[2, 5], [6, 1], [3, 3]]
    together = greedy_gaze(task, video, budgets, mode, candidates=3, group=group)
    for number, found in enumerate(together):
        clip = video[number : number + 1]
        (alone,) = greedy_gaze(task, clip, budgets[number], mode, candidates=3, group=group)
        assert found.gazing_pos == alone.gazing_pos
        for losses, losses_alone in zip(found.task_losses, alone.task_losses, strict=True):
            assert losses == pytest.approx(losses_alone, rel=1e-5)


def test_frames_come_as_they_are_found() -> None:
    task, video = small_task(), clips(2, 3)
    frames = greedy_frames(task, video, [1, 2, 3])
    assert [len(gaze.patches) for gaze in next(frames)] == [1, 1]
    assert [len(gaze.patches) for gaze in next(frames)] == [2, 2]


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InputError, match="unknown search mode 'exakt': did you mean 'exact'"):
        greedy_gaze(small_task(), clips(1, 1), [1], "exakt")  # type: ignore[arg-type]


def test_no_candidates_are_refused() -> None:
    with pytest.raises(InputError, match="candidates is 0"):
        greedy_gaze(small_task(), clips(1, 1), [1], candidates=0)


@pytest.mark.parametrize("budgets", [[1], [[1, 1]], [[1, 2], [3]], [[[1, 1]]]])
def test_budgets_that_do_not_fit_the_video_are_refused(budgets: Any) -> None:
    with pytest.raises(InputError, match="do not fit 2 clips of 2 frames"):
        greedy_gaze(small_task(), clips(2, 2), budgets)


@pytest.mark.parametrize("budget", [0, PATCHES + 1])
def test_budgets_that_no_frame_can_fill_are_refused(budget: int) -> None:
    with pytest.raises(InputError, match=f"must be from 1 to {PATCHES}"):
        greedy_gaze(small_task(), clips(1, 1), [budget])


def test_a_search_leaves_no_gradients() -> None:
    task = small_task()
    greedy_gaze(task, clips(1, 1), [2])
    assert all(
        parameter.grad is None and not torch.is_inference(parameter) for parameter in task.parameters()
    )


def test_the_loss_after_a_group_is_a_true_one() -> None:
    task, video = small_task(), clips(2, 2)
    for clip, found in zip(video, greedy_gaze(task, video, [[6, 3], [5, 2]], group=3), strict=True):
        past: list[list[int]] = []
        for frame, losses in zip(found.gazing_pos, found.task_losses, strict=True):
            for end in {*range(3, len(frame) + 1, 3), len(frame)}:
                true = plain_loss(task, clip, [*past, list(frame[:end])])
                assert losses[end - 1] == pytest.approx(true, rel=1e-5)
            past.append(list(frame))


def test_losses_inside_a_group_lie_between_those_at_its_ends() -> None:
    (found,) = greedy_gaze(small_task(), clips(1, 1), [8], group=4)
    (losses,) = found.task_losses
    assert all(min(losses[3], losses[7]) <= loss <= max(losses[3], losses[7]) for loss in losses[4:7])


def test_groups_fill_budgets_without_a_patch_twice() -> None:
    budgets = [[PATCHES, 1], [2, PATCHES - 1]]
    found = greedy_gaze(small_task(), clips(2, 2), budgets, group=3)
    assert [[len(frame) for frame in clip.gazing_pos] for clip in found] == budgets
    assert all(len(set(frame)) == len(frame) for clip in found for frame in clip.gazing_pos)


def test_a_group_in_the_exact_search_is_refused() -> None:
    with pytest.raises(InputError, match=r"group is 2: .* exactly 1 by the exact search"):
        greedy_gaze(small_task(), clips(1, 1), [2], "exact", group=2)


def test_rates_say_which_scale_is_worth_taking() -> None:
    coarse, fine = range(4), range(4, PATCHES)
    for rates, scale in (((1.0, 0.0), coarse), ((0.0, 1.0), fine)):
        (found,) = greedy_gaze(small_task(), clips(1, 2), [3, 3], group=3, gain_rates=rates)
        assert {patch for frame in found.gazing_pos for patch in frame} <= set(scale)


def test_rates_in_the_exact_search_and_for_other_scales_are_refused() -> None:
    with pytest.raises(InputError, match="takes no gain rates"):
        greedy_gaze(small_task(), clips(1, 1), [2], "exact", gain_rates=(1.0, 1.0))
    with pytest.raises(InputError, match=r"gain rates \[1.0\] must be one for each of the 2 scales"):
        greedy_gaze(small_task(), clips(1, 1), [2], gain_rates=(1.0,))
