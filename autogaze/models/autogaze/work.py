"""The work of choosing patches, from shapes alone."""

from collections.abc import Sequence

from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.work import Work


def gaze_work(arch: Architecture, slots: Sequence[int], element_size: int) -> Work:
    """Return the work for one video whose frames used ``slots`` slots each; weights of ``element_size``
    bytes.

    Padded slots count as gazes: between real ones they cost the same, and few lie elsewhere.
    """
    work = _vision(arch, len(slots), element_size)
    cached = pending = 0
    for gazes in slots:
        work += _block(arch, pending + arch.vision_tokens, cached, element_size)
        cached += pending + arch.vision_tokens
        groups = -(-gazes // arch.group)
        for _ in range(groups - 1):
            work += _block(arch, arch.group, cached, element_size)
            cached += arch.group
        pending = gazes - arch.group * (groups - 1)
    return work


def _vision(arch: Architecture, frames: int, element_size: int) -> Work:
    width, out, patch = arch.vision_width, arch.vision_out_width, 3 * arch.patch_size**2
    kernel = arch.trunk_temporal_kernel * arch.trunk_spatial_kernel**2
    weights = patch * width + arch.vision_depth * kernel * width**2 + width * out
    tokens = frames * arch.vision_tokens
    return Work(2 * tokens * weights, element_size * (weights + tokens * (patch + out)))


def _block(arch: Architecture, tokens: int, cached: int, element_size: int) -> Work:
    """Feed ``tokens`` tokens behind ``cached`` ones and choose a group; the last layer answers for one token
    only."""
    width, layers, extent = arch.width, arch.layers, cached + tokens
    project = 3 * width**2
    rest = width**2 + 3 * width * arch.mlp_width
    heads = width * arch.group * (arch.vocabulary + 1)
    queries = tokens * (layers - 1) + 1
    flops = 2 * (tokens * layers * project + queries * rest + heads) + 4 * width * queries * extent
    weights = layers * (project + rest) + heads
    return Work(flops, element_size * (weights + 2 * layers * width * extent))
