"""From frames and chosen patches to the pixels of those patches: the definition."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def patch_gather(
    frames: Tensor, frame: Tensor, patch: Tensor, scales: Sequence[int], patch_size: int
) -> Tensor:
    """Return (patches, channels * patch_size²): each patch cut from its frame resized to its scale.

    ``frames`` (frames, channels, height, width) float; ``frame`` and ``patch`` (patches,) integers: which
    frame, and which patch of it (scales in ascending order, row-major inside each). A scale is ``scales[i]``
    pixels a side; frames are resized bicubically without antialiasing (``align_corners=False``), as every
    encoder of this project does.
    """
    rows = []
    for scale in scales:
        resized = F.interpolate(frames.float(), size=(scale, scale), mode="bicubic", align_corners=False)
        rows.append(F.unfold(resized, patch_size, stride=patch_size).transpose(1, 2))
    pyramid = torch.cat(rows, dim=1)  # (frames, patches of a frame, channels * patch_size²)
    return pyramid[frame.long(), patch.long()].to(frames.dtype)
