"""Calls that the tests in this folder share, on the case of the released package."""

import torch

from tests.reference.cases import load
from tests.reference.fill import clip

CASE = load("released_calls")
VIDEO = clip(CASE["clip_seed"], CASE["batch"], CASE["frames"])
PASTS = ("past_key_values", "past_inputs_embeds", "past_attention_mask", "past_conv_values")


def nudge(model):
    """Change the weights, as a step of training does."""
    with torch.inference_mode(False), torch.no_grad():
        model.gazing_model.connector.pos_embed.add_(1)


def streamed(model, video, ratios, **first):
    past = dict.fromkeys(PASTS)
    outputs = []
    for frame, ratio in zip(video.split(1, dim=1), ratios):
        limits = {"gazing_ratio": ratio, "generate_only": True, "use_cache": True}
        outputs.append(model({"video": frame}, **limits, **past, **first))
        names = ("past_key_values", "past_input_embeds", "past_attention_mask", "past_conv_values")
        past = {keyword: outputs[-1][name] for keyword, name in zip(PASTS, names)}
    return outputs, past
