"""Memory of caches: used again, and never so that a number of the cache before comes through."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from autogaze.models.autogaze import cache_memory
from autogaze.models.autogaze.cache_memory import zeros
from tests.reference.cases import gaze_model
from tests.reference.fill import clip

LIKE = torch.zeros(1)


@pytest.fixture(autouse=True)
def nothing_kept():
    cache_memory._kept.clear()
    yield
    cache_memory._kept.clear()


def gazed(model, video, engine, **request):
    with torch.inference_mode():
        return model({"video": video}, engine=engine, **request)["gazing_pos"]


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def test_memory_is_used_again_when_all_tensors_on_it_are_gone():
    first = zeros((3, 1000), LIKE, filled=True, clean=True)
    where = address(first)
    view = first[1:, 5:]
    del first
    other = zeros((3, 1000), LIKE, filled=True, clean=True)
    assert address(other) != where
    del view, other
    assert len(cache_memory._kept) == 2
    assert where in {address(zeros((2, 500), LIKE, filled=False, clean=True)) for _ in range(2)}


def test_what_must_be_clean_is_and_what_need_not_be_costs_nothing():
    zeros((4, 4), LIKE, filled=True, clean=True).fill_(float("nan"))
    assert zeros((4, 4), LIKE, filled=True, clean=False).isnan().all()
    assert not zeros((4, 4), LIKE, filled=True, clean=True).any()
    assert not zeros((2, 2), LIKE, filled=True, clean=False).any()


def test_too_small_and_too_large_pieces_go_back(monkeypatch):
    for elements in (10, 2**21):
        zeros((elements,), LIKE, filled=True, clean=True)
    assert [len(memory) > 2**23 for memory in cache_memory._kept] == [True]
    monkeypatch.setattr(cache_memory, "LARGEST_KEPT", 2**20)
    cache_memory._kept.clear()
    zeros((10,), LIKE, filled=True, clean=True)
    assert not cache_memory._kept


@pytest.mark.parametrize("engine", ["eager", "native"])
@pytest.mark.parametrize("batch", [1, 2])
def test_patches_do_not_depend_on_what_a_cache_held_before(engine, batch):
    model = gaze_model("tiny", 11)
    video = clip(3, batch, 6, 224)
    of_different_lengths = torch.tensor([10.0, -10.0])[-batch:, None].expand(batch, 6)
    requests = [{"gazing_ratio": 0.3}, {"gazing_ratio": 0.5, "task_loss_requirement": of_different_lengths}]
    fresh = []
    for request in requests:
        cache_memory._kept.clear()
        fresh.append(gazed(model, video, engine, **request))
    for memory in list(cache_memory._kept):
        torch.frombuffer(memory, dtype=torch.float32).fill_(float("nan"))
    for request, expected in zip(requests, fresh, strict=True):
        assert torch.equal(gazed(model, video, engine, **request), expected)
        assert len(cache_memory._kept) == 2


def test_generations_at_the_same_time_do_not_share_memory():
    model = gaze_model("tiny", 11)
    videos = [clip(seed, 1, 4, 224) for seed in range(6)]

    def patches(video):
        return gazed(model, video, "eager", gazing_ratio=0.4)

    expected = [patches(video) for video in videos]
    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(patches, videos * 5))
    assert all(torch.equal(a, b) for a, b in zip(found, expected * 5, strict=True))
