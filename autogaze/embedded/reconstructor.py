"""The embedded reconstructor: small, seeded, untrained. Shape and cost are right; it paints noise."""

import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from autogaze.checkpoints import load_strict
from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.task_video_mae_reconstruction import VideoMAEReconstruction

CONFIG = VideoMAEConfig(
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=6,
    intermediate_size=768,
    decoder_hidden_size=192,
    decoder_num_hidden_layers=4,
    decoder_num_attention_heads=6,
    decoder_intermediate_size=768,
    trained=False,
)

_SEED = 0


def seeded_reconstructor(
    attn_implementation: str = "sdpa", loss_type: str | None = None
) -> VideoMAEReconstruction:
    """Return the small reconstructor with the same weights on every machine, ready for evaluation."""
    config = CONFIG if loss_type is None else CONFIG.with_losses(loss_type)
    task = VideoMAEReconstruction(config, attn_implementation)
    state = {
        name: torch.from_numpy(initial_values(name, tuple(tensor.shape))).to(tensor.dtype)
        for name, tensor in task.state_dict().items()
    }
    load_strict(task, state, "the seeded state")
    return task.eval()


def initial_values(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Initial values as for any vision transformer; each tensor has a random stream of its own."""
    leaf = name.rpartition(".")[2]
    if leaf in ("position_embeddings", "decoder_pos_embed"):
        return _sin_cos_table(round((shape[1] - 1) ** 0.5), shape[2])[None]
    if leaf == "bias" or leaf.endswith("_bias"):
        return np.zeros(shape, np.float32)
    if leaf == "lambda1" or (leaf == "weight" and len(shape) == 1):
        return np.ones(shape, np.float32)
    # RandomState, unlike numpy's newer generators, promises the same stream in every version.
    stream = np.random.RandomState((zlib.crc32(name.encode()) ^ _SEED) & 0xFFFFFFFF)
    return (0.02 * stream.standard_normal(shape)).astype(np.float32)


def _sin_cos_table(side: int, width: int) -> NDArray[np.float32]:
    """(1 + side * side, width): zeros, then sines and cosines of column and row (He et al., 2022)."""
    frequency = 10000.0 ** -(np.arange(width // 4) / (width / 4))
    row, column = np.divmod(np.arange(side * side), side)
    waves = [np.outer(place, frequency) for place in (column, row)]
    table = np.concatenate([part for wave in waves for part in (np.sin(wave), np.cos(wave))], axis=1)
    return np.concatenate([np.zeros((1, width)), table]).astype(np.float32)
