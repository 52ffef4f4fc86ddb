"""What a patch is thought to gain before it is tried."""

import torch
from torch import Tensor
from torch.nn import functional as F

from autogaze.gaze.grid import PatchGrid
from autogaze.labelling.gain_estimator import GainEstimator

GRID = PatchGrid((32, 64), 16)
"""Patches 0 to 3 are quarters of the frame, patches 4 to 19 its sixteenths."""

FIRST = torch.tensor([0])


def frame(value: float = 0.0) -> Tensor:
    return torch.full((1, 3, 64, 64), value)


def estimator(original: Tensor, reconstruction: Tensor) -> GainEstimator:
    guesses = GainEstimator(GRID, len(original), original.device)
    guesses.begin(original, reconstruction, at_best(original))
    return guesses


def at_best(original: Tensor) -> list[Tensor]:
    """What a reconstructor makes of all patches of each scale if it does nothing but enlarge them."""
    size = original.shape[-2:]
    seen = [F.interpolate(original, (scale, scale), mode="area") for scale in GRID.scales]
    return [F.interpolate(picture, size, mode="bilinear", align_corners=False) for picture in seen]


def best(guesses: GainEstimator, count: int, closed: tuple[int, ...] = ()) -> list[int]:
    mask = torch.zeros(1, GRID.patches_per_frame, dtype=torch.bool)
    mask[0, list(closed)] = True
    order: list[int] = guesses.best(FIRST, mask, count)[0].tolist()
    return order


def test_where_a_large_area_is_plainly_wrong_a_coarse_patch_would_gain_most() -> None:
    original = frame()
    original[..., :32, 32:] = 1.0
    assert best(estimator(original, frame()), 1) == [1]


def test_where_detail_is_wrong_that_a_coarse_patch_cannot_show_a_fine_one_would_gain_most() -> None:
    stripes = torch.tensor([1.0, -1.0]).repeat(8)
    original = frame()
    original[..., 16:32, 48:] = stripes
    assert best(estimator(original, frame()), 1) == [4 + 1 * 4 + 3]


def test_what_the_reconstructor_makes_nothing_of_would_gain_nothing() -> None:
    guesses = GainEstimator(GRID, 1, torch.device("cpu"))
    guesses.begin(frame(1.0), frame(), [frame(1.0), frame()])
    assert max(best(guesses, 4)) < 4
    guesses.begin(frame(1.0), frame(), [frame(), frame(1.0)])
    assert min(best(guesses, 16)) >= 4


def test_closed_patches_are_never_proposed() -> None:
    closed = tuple(range(0, 20, 2))
    assert sorted(best(estimator(frame(1.0), frame()), 10, closed)) == list(range(1, 20, 2))


def test_a_patch_that_was_tried_in_vain_is_thought_little_of() -> None:
    guesses = estimator(frame(1.0), frame())
    first = best(guesses, 1)
    guesses.learn(FIRST, torch.tensor([first]), torch.tensor([[0.0]]))
    assert first[0] not in best(guesses, 10)


def test_a_patch_that_adds_to_the_loss_does_not_shut_out_its_scale() -> None:
    guesses, other = estimator(frame(1.0), frame()), estimator(frame(1.0), frame())
    guesses.learn(FIRST, torch.tensor([[0]]), torch.tensor([[-0.5]]))
    other.learn(FIRST, torch.tensor([[0]]), torch.tensor([[0.0]]))
    assert best(guesses, 20) == best(other, 20)


def test_what_was_learnt_of_a_patch_fades_into_what_is_known_of_its_scale() -> None:
    guesses = estimator(frame(1.0), frame())
    guesses.learn(FIRST, torch.tensor([[4]]), torch.tensor([[0.0]]))
    assert best(guesses, 20)[-1] == 4
    for patch in range(5, 15):
        guesses.learn(FIRST, torch.tensor([[patch]]), torch.tensor([[0.06]]))
    guesses.learn(FIRST, torch.tensor([[18]]), torch.tensor([[0.02]]))
    order = best(guesses, 20)
    assert order.index(4) < order.index(18)


def test_what_patches_of_a_scale_gained_tells_about_the_others_of_it() -> None:
    guesses = estimator(frame(1.0), frame())
    assert max(best(guesses, 4)) < 4
    guesses.learn(FIRST, torch.tensor([[0]]), torch.tensor([[0.001]]))
    assert min(best(guesses, 16)) >= 4


def test_what_was_learnt_about_a_scale_lasts_into_the_next_frame() -> None:
    guesses = estimator(frame(1.0), frame())
    guesses.learn(FIRST, torch.tensor([[0]]), torch.tensor([[0.001]]))
    guesses.begin(frame(1.0), frame(), at_best(frame(1.0)))
    assert min(best(guesses, 16)) >= 4


def test_what_has_been_mended_would_gain_nothing() -> None:
    guesses = estimator(frame(1.0), frame())
    mended = frame()
    mended[..., :32] = 1.0
    guesses.update(FIRST, frame(1.0), mended)
    assert set(best(guesses, 2)) == {1, 3}


def test_clips_learn_from_themselves_alone() -> None:
    both = GainEstimator(GRID, 2, torch.device("cpu"))
    original = frame(1.0).expand(2, -1, -1, -1)
    both.begin(original, torch.zeros_like(original), at_best(original))
    both.learn(torch.tensor([1]), torch.tensor([[0]]), torch.tensor([[0.001]]))
    untaught = estimator(frame(1.0), frame())
    assert best(both, 20) == best(untaught, 20)


def test_without_an_error_every_patch_still_has_a_place() -> None:
    assert sorted(best(estimator(frame(), frame()), 20)) == list(range(20))


def proposed(guesses: GainEstimator, count: int) -> list[int]:
    patches, _ = guesses.propose(FIRST, torch.zeros(1, GRID.patches_per_frame, dtype=torch.bool), count)
    found: list[int] = patches[0].tolist()
    return found


def test_the_first_proposed_is_the_best() -> None:
    original = frame()
    original[..., :32, 32:] = 1.0
    guesses = estimator(original, frame())
    assert proposed(guesses, 1) == best(guesses, 1)


def test_patches_proposed_together_do_not_show_the_same() -> None:
    original = frame()
    original[..., :32, 32:] = 8.0  # patch 1, and the finer ones that it covers
    original[..., 32:, :32] = 1.0  # patch 2
    assert proposed(estimator(original, frame()), 2) == [1, 2]
    assert best(estimator(original, frame()), 2) != [1, 2]


def test_proposals_are_not_closed_and_not_given_twice() -> None:
    closed = torch.zeros(1, GRID.patches_per_frame, dtype=torch.bool)
    closed[0, :10] = True
    patches, estimated = estimator(frame(1.0), frame()).propose(FIRST, closed, 10)
    assert sorted(patches[0].tolist()) == list(range(10, 20))
    assert bool((estimated > 0).all())
