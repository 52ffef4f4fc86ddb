import pytest
import torch

from autogaze.datasets.batches import collate
from autogaze.errors import InputError
from autogaze.training.data_loader import batches
from tests.training.runs import Clips

CPU = torch.device("cpu")


class Unreadable(Clips):
    """Clips of which the last cannot be read."""

    def __getitem__(self, index):
        if index == self.count - 1:
            raise InputError(f"clip {index} cannot be read; replace it")
        return super().__getitem__(index)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_sampler_in_its_order(workers):
    found = list(batches(Clips(6), [[4, 1], [0]], collate, workers, CPU))
    assert [batch["video_path"] for batch in found] == [
        ["set/train/4.mp4", "set/train/1.mp4"],
        ["set/train/0.mp4"],
    ]
    assert torch.equal(found[0]["frames"][1], Clips(6)[1]["frames"])


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_wrong_with_a_clip_is_said_as_it_is_once_its_turn_comes(workers):
    found = batches(Unreadable(4), [[0, 1], [2, 3]], collate, workers, CPU)
    assert len(next(found)["video_path"]) == 2
    with pytest.raises(InputError, match=r"^clip 3 cannot be read; replace it$"):
        next(found)


@pytest.mark.parametrize("workers", [0, 2])
def test_labels_of_a_finer_grid_are_refused_in_one_sentence(workers):
    found = batches(Clips(8, patches=4000), [[0, 1]], collate, workers, CPU)
    with pytest.raises(InputError, match=r"^[^\n]*patch[^\n]*265[^\n]*$"):
        next(found)
