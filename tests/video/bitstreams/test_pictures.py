import numpy as np
import pytest

from autogaze.video.bitstreams.pictures import Head, NotNumbered, ordered, ranked, reordering

INTRA, PREDICTED, BETWEEN = Head(key=True), Head(), Head(bidirectional=True)


def test_a_picture_between_two_others_is_shown_before_the_second():
    pictures = ordered([INTRA, PREDICTED, BETWEEN, BETWEEN, PREDICTED, BETWEEN])
    assert pictures.order.tolist() == [0, 3, 1, 2, 5, 4]
    assert pictures.key.tolist() == [True] + 5 * [False]


def test_packets_that_show_nothing_have_no_number():
    assert ordered([INTRA, Head(shown=False), PREDICTED]).order.tolist() == [0, -1, 1]


@pytest.mark.parametrize("heads", [[], [PREDICTED, INTRA], [INTRA, BETWEEN, PREDICTED]])
def test_what_begins_without_its_references_is_not_numbered(heads):
    with pytest.raises(NotNumbered, match="begins"):
        ordered(heads)


def test_pictures_are_ranked_among_those_shown():
    shown = np.array([True, False, True, True])
    assert ranked(np.array([7, 1, 3, 5]), shown).tolist() == [2, -1, 0, 1]
    with pytest.raises(NotNumbered, match="two of its pictures"):
        ranked(np.array([7, 1, 3, 3]), shown)


@pytest.mark.parametrize(
    ("order", "held_back"),
    [([0, 1, 2, 3], 0), ([0, 2, 1, 3], 1), ([0, 3, 1, 2], 1), ([0, 4, 2, 1, 3], 2), ([-1, 1, 0], 1)],
)
def test_reordering_is_how_many_pictures_a_decoder_must_hold_back(order, held_back):
    assert reordering(np.array(order)) == held_back
