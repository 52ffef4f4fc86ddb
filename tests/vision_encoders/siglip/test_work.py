"""Counted work equals what torch counts."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from autogaze.vision_encoders.siglip import SiglipVisionConfig, SiglipVisionModel
from autogaze.vision_encoders.siglip.work import encoding_work
from tests.reference.fill import clip
from tests.vision_encoders.siglip.checkpoints import TINY


def test_flops_are_those_torch_counts() -> None:
    # The dense definition computes every pair, which is what bidirectional attention needs.
    config = SiglipVisionConfig(**TINY, scales="32+64", attn_type="bidirectional", vision_use_head=False)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        SiglipVisionModel(config, "eager")(clip(1, 1, 2))
    assert encoding_work(config, [20, 20], 4).flops == counter.get_total_flops()


@pytest.mark.parametrize(
    ("settings", "pairs"),
    [
        ({"attn_type": "block_causal"}, 4 + 2 * 3 + 9),
        ({"attn_type": "causal"}, 15),
        ({"attn_type": "bidirectional"}, 25),
        ({"attn_type": "block_causal", "frame_independent_encoding": True}, 4 + 9),
        ({"attn_type": "causal", "frame_independent_encoding": True}, 3 + 6),
        ({"attn_type": "bidirectional", "frame_independent_encoding": True}, 4 + 9),
    ],
)
def test_each_mask_costs_the_pairs_it_shows(settings: dict[str, Any], pairs: int) -> None:
    blind = encoding_work(SiglipVisionConfig(**TINY, attn_type="bidirectional"), [5], 4).flops - 4 * 32 * 25
    assert encoding_work(SiglipVisionConfig(**TINY, **settings), [2, 3], 4).flops - blind == 4 * 32 * pairs


def test_a_pooling_head_is_work_too() -> None:
    with_head, without = (SiglipVisionConfig(**TINY, vision_use_head=head) for head in (True, False))
    assert encoding_work(with_head, [2, 3], 4).flops > encoding_work(without, [2, 3], 4).flops
