"""Counted work equals what torch counts."""

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from autogaze.models.autogaze.work import gaze_work
from tests.reference.cases import gaze_model
from tests.reference.fill import clip


def test_flops_are_those_torch_counts():
    model = gaze_model("tiny", 11)
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model({"video": clip(1, 1, 3)}, gazing_ratio=[0.1, 0.02, 0.07], engine="eager")
    counted = gaze_work(model.arch, output.num_gazing_each_frame.tolist(), 4)
    assert counted.flops == counter.get_total_flops()


def test_bytes_are_at_least_the_weights_of_every_step():
    model = gaze_model("tiny", 11)
    decoder = sum(p.numel() for p in model.gazing_model.gaze_decoder.model.layers.parameters())
    assert gaze_work(model.arch, [30, 30], 2).bytes > 2 * 6 * decoder
