"""The accelerated search held against the exact one."""

from autogaze.labelling.agreement import agreement
from tests.labelling.examples import PATCHES, clips, small_task


def test_with_every_patch_a_candidate_the_searches_agree_in_full() -> None:
    found = agreement(small_task(), clips(2, 2), [4, 2], candidates=PATCHES)
    assert (found.same_picks, found.loss_ratio) == (1.0, 1.0)


def test_with_one_candidate_the_accelerated_search_does_less_work_for_a_higher_loss() -> None:
    found = agreement(small_task(), clips(2, 2), [4, 2], candidates=1)
    assert 0 <= found.same_picks < 1
    assert found.loss_ratio > 1
