"""Weights of a new ViT-MAE, drawn as transformers and the released package draw them.

Small random matrices, and position tables of sines and cosines (He et al., 2022). Both of them make the
decoder's table too and then overwrite it, and the mask token, with zeros; here they are kept. The training of
the embedded reconstructor starts elsewhere (:mod:`autogaze.initialization.reconstructor`).
"""

import torch
from torch import Tensor, nn

from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES
from autogaze.tasks.video_mae_reconstruction.video_mae import VideoMAE

_SPREAD = 0.02
"""Standard deviation of matrices, unless the configuration has another ``initializer_range``."""

_LONGEST_WAVE = 10000.0


@torch.no_grad()
def initialize_as_released(mae: VideoMAE) -> None:
    """Overwrite every weight of a reconstructor but those of feature losses' networks."""
    spread = float(mae.config.extra.get("initializer_range", _SPREAD))
    for name, module in mae.named_modules():
        if name.startswith(tuple(FEATURE_BACKBONES)):
            continue
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.normal_(module.weight, std=spread)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            module.reset_parameters()
    embeddings, decoder, side = mae.vit.embeddings, mae.decoder, mae.config.grid.sides[-1]
    nn.init.xavier_uniform_(embeddings.patch_embeddings.projection.weight.flatten(1))
    for token in (embeddings.cls_token, decoder.mask_token):
        nn.init.normal_(token, std=spread)
    for table in (embeddings.position_embeddings, decoder.decoder_pos_embed):
        table[0, 0] = 0  # the class token's
        table[0, 1:] = waves(table.shape[-1], side)
    initialize_scales_and_times(mae)


@torch.no_grad()
def initialize_scales_and_times(mae: VideoMAE) -> None:
    """Draw the embeddings of scale and time, which published ViT-MAEs lack."""
    spread = float(mae.config.extra.get("initializer_range", _SPREAD))
    embeddings, decoder = mae.vit.embeddings, mae.decoder
    for parameter in (
        embeddings.scale_embed,
        embeddings.time_embed,
        decoder.decoder_scale_embed,
        decoder.time_embed,
    ):
        if parameter is not None:
            nn.init.normal_(parameter, std=spread)


def waves(width: int, side: int) -> Tensor:
    """Return (side ** 2, width): for each cell of a grid, row by row, sines and cosines of its column, then
    of its row, of ever longer waves."""
    rates = _LONGEST_WAVE ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * rates
    along = torch.cat([angles.sin(), angles.cos()], dim=1)  # (side, width / 2)
    columns, rows = along.repeat(side, 1), along.repeat_interleave(side, dim=0)
    return torch.cat([columns, rows], dim=1).float()
