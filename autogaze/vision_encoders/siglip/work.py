"""The work of encoding gazed patches, from shapes alone."""

from collections.abc import Sequence
from itertools import accumulate

from autogaze.vision_encoders.siglip.configuration_siglip import SiglipVisionConfig
from autogaze.work import Work, transformer_work


def encoding_work(config: SiglipVisionConfig, gazes: Sequence[int], element_size: int) -> Work:
    """Return the work for one video with ``gazes`` gazes in each frame.

    Padding is not counted, since it is left out.
    """
    width, patch = config.hidden_size, config.num_channels * config.patch_size**2
    tokens = sum(gazes)
    layers = transformer_work(
        config.num_hidden_layers, width, config.intermediate_size, tokens, _pairs(config, gazes), element_size
    )
    head = 2 * width**2 + 2 * width * config.intermediate_size + 2 * width * width * tokens
    products = tokens * patch * width + (head if config.vision_use_head else 0)
    return layers + Work(2 * products, element_size * (patch * width + tokens * patch))


def _pairs(config: SiglipVisionConfig, gazes: Sequence[int]) -> int:
    """Pairs of a query and a key it sees."""
    seen = gazes if config.frame_independent_encoding else list(accumulate(gazes))
    if config.attn_type == "block_causal":
        return sum(n * end for n, end in zip(gazes, seen))
    rows = gazes if config.frame_independent_encoding else [sum(gazes)]
    if config.attn_type == "causal":
        return sum(n * (n + 1) // 2 for n in rows)
    return sum(n * n for n in rows)
