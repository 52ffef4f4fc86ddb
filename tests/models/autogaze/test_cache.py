"""The key-value cache forgets without moving what remains."""

import pytest
import torch

from autogaze.models.autogaze.cache import KeyValueCache
from autogaze.models.autogaze.decoder import rotations
from kernels.decode_step.layers import rotate
from tests.reference.cases import gaze_model


def test_after_a_drop_tokens_attend_to_what_remains_as_before():
    arch = gaze_model("tiny", 11).arch
    table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, 100, torch.device("cpu"))
    cache = KeyValueCache(arch, 2, 60, 10, torch.zeros(1), "eager")
    cache.keys.normal_()
    cache.values.normal_()
    before = cache.keys[:, 1].clone()
    query = torch.randn(2, arch.heads, 1, arch.head_dim)

    def attend(keys, values, position):
        turned = rotate(query, table[position])
        scores = (turned @ keys.transpose(-1, -2)) * arch.head_dim**-0.5
        return scores.softmax(dim=-1) @ values

    layer = 1
    expected = attend(cache.keys[layer, :1, :, 17:50], cache.values[layer, :1, :, 17:50], 50)
    cache.drop(video=0, count=17, length=50, back=table[17].conj())
    found = attend(cache.keys[layer, :1, :, :33], cache.values[layer, :1, :, :33], 33)
    assert (found - expected).abs().max() < 1e-5
    assert torch.equal(cache.keys[:, 1], before)


@pytest.mark.parametrize("filled", [False, True])
def test_slots_are_zero_until_they_are_written_to(filled):
    arch = gaze_model("tiny", 11).arch
    for _ in range(3):  # memory that was used before
        cache = KeyValueCache(arch, 2, 300, 10, torch.zeros(1, dtype=torch.bfloat16), "sdpa", filled=filled)
        assert cache.keys.shape == (arch.layers, 2, arch.heads, 301, arch.head_dim)
        assert cache.keys.dtype == torch.bfloat16
        assert not cache.keys.any()
        assert not cache.values.any()
        cache.keys.fill_(float("nan"))
        cache.values.fill_(float("nan"))
