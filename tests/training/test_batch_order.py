import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze.errors import InputError
from autogaze.training.batch_order import EpochOrder, Replay, Share


def global_batches(videos, batch_size, micro, world_size, **order):
    """The global batches that all processes make up together."""
    ranks = []
    for rank in range(world_size):
        share = Share(batch_size, micro, rank, world_size)
        each = iter(EpochOrder(videos, share, 7, **order))
        ranks.append([[next(each) for _ in share.micro_batches] for _ in range(videos // batch_size)])
    return [[index for rank in ranks for part in rank[n] for index in part] for n in range(len(ranks[0]))]


@given(
    world_size=st.integers(1, 4), per_rank=st.integers(1, 5), micro=st.integers(1, 6), rest=st.integers(0, 3)
)
def test_global_batches_are_the_same_for_any_number_of_processes(world_size, per_rank, micro, rest):
    batch_size = world_size * per_rank
    videos = 3 * batch_size + min(rest, batch_size - 1)
    batches = global_batches(videos, batch_size, micro, world_size, epoch=2)
    assert batches == global_batches(videos, batch_size, batch_size, 1, epoch=2)
    seen = [index for batch in batches for index in batch]
    assert len(set(seen)) == len(seen) == 3 * batch_size
    assert set(seen) <= set(range(videos))


def test_every_epoch_has_an_order_of_its_own():
    share = Share(4, 4)
    orders = [list(EpochOrder(16, share, seed, epoch)) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] == list(EpochOrder(16, share, 0, 0))
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_an_order_that_begins_later_is_the_tail_of_the_whole_one():
    share = Share(4, 3, rank=1, world_size=2)
    whole, tail = (EpochOrder(19, share, 0, 0, first_batch=n) for n in (0, 2))
    assert list(whole)[2 * len(share.micro_batches) :] == list(tail)
    assert (len(list(whole)), len(list(tail))) == (len(whole), len(tail))


def test_batches_are_used_in_turn_and_then_shuffled_as_often_as_asked():
    order = Replay(8, 3).order(8, seed=1, step=24)
    iterations = [order[start : start + 8] for start in (0, 8, 16)]
    assert iterations[0] == list(range(8))
    assert all(sorted(each) == iterations[0] for each in iterations)
    assert iterations[0] != iterations[1] != iterations[2]
    assert order == Replay(8, 3).order(8, seed=1, step=24) != Replay(8, 3).order(8, seed=1, step=48)
    assert Replay(8, 1).order(2, seed=1, step=0) == [0, 1]


@pytest.mark.parametrize(
    ("share", "message"),
    [((4, 2, 0, 3), "4 cannot be split evenly over 3"), ((0, 2), "at least 1"), ((4, 0), "at least 1")],
)
def test_batches_that_cannot_be_cut_are_refused(share, message):
    with pytest.raises(InputError, match=message):
        Share(*share)
