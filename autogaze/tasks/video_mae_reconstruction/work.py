"""The work of reconstructing frames, from shapes alone."""

from collections.abc import Sequence
from itertools import accumulate

from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig
from autogaze.work import Work, transformer_work


def reconstruction_work(config: VideoMAEConfig, gazes: Sequence[int], element_size: int) -> Work:
    """Return the work for one video with ``gazes`` gazes in each frame, all frames reconstructed.

    Padding is not counted, since it can be left out, nor are the networks of the feature losses.
    """
    grid, patch = config.grid, config.num_channels * config.patch_size**2
    places = [grid.patches_per_frame] * len(gazes)
    shown = len(gazes) * grid.counts[-1]
    width, decoder_width = config.hidden_size, config.decoder_hidden_size
    encoder = _blocks(config.num_hidden_layers, width, config.intermediate_size, gazes, element_size)
    decoder = _blocks(
        config.decoder_num_hidden_layers,
        decoder_width,
        config.decoder_intermediate_size,
        places,
        element_size,
    )
    embedding, bridge, prediction = patch * width, width * decoder_width, decoder_width * patch
    products = sum(gazes) * embedding + (sum(gazes) + 1) * bridge + shown * prediction
    traffic = embedding + bridge + prediction + (sum(gazes) + shown) * patch
    return encoder + decoder + Work(2 * products, element_size * traffic)


def _blocks(layers: int, width: int, mlp_width: int, tokens: Sequence[int], element_size: int) -> Work:
    """Transformer layers over a class token and frames of ``tokens`` tokens that see all frames up to their
    own."""
    pairs = sum(n * end for n, end in zip(tokens, accumulate(tokens, initial=1)))
    pairs += sum(n * n for n in tokens)
    return transformer_work(layers, width, mlp_width, sum(tokens) + 1, pairs, element_size)
