"""From frames and chosen patches to the pixels of those patches: the fast form.

A program makes one channel of one patch: sixteen taps of a bicubic filter a pixel, read from the frame
itself, so no resized picture ever exists and what is not chosen costs nothing. Where a scale is the frame's
own size the filter has one tap, and the program is a copy. Least traffic: the pixels under the chosen patches
in, the patches out.
"""

import functools
from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

_CUBIC = tl.constexpr(-0.75)
"""The free coefficient of the cubic filter, as torch's bicubic resizing has it."""


@triton.jit
def _cubic_near(t):
    """Weight of a tap at distance t in [0, 1]."""
    return ((_CUBIC + 2.0) * t - (_CUBIC + 3.0)) * t * t + 1.0


@triton.jit
def _cubic_far(t):
    """Weight of a tap at distance t in [1, 2]."""
    return ((_CUBIC * t - 5.0 * _CUBIC) * t + 8.0 * _CUBIC) * t - 4.0 * _CUBIC


@triton.jit
def _weight(t, tap: tl.constexpr):
    """Weight of tap 0 to 3 (one before, at, one and two after) for a place t past tap 1."""
    if tap == 0:
        return _cubic_far(t + 1.0)
    if tap == 1:
        return _cubic_near(t)
    if tap == 2:
        return _cubic_near(1.0 - t)
    return _cubic_far(2.0 - t)


@triton.jit
def patch_gather_kernel(
    p_frames, p_frame, p_patch, p_scale, p_top, p_left, p_rows,
    channels, height, width, PATCH: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    i_row = tl.program_id(0)
    i_channel = tl.program_id(1)
    i_patch = tl.load(p_patch + i_row)
    i_frame = tl.load(p_frame + i_row)
    scale = tl.load(p_scale + i_patch)
    o_pixel = tl.arange(0, PIXELS)
    m_pixel = o_pixel < PATCH * PATCH
    # (pixels,) places in the resized frame
    o_y = tl.load(p_top + i_patch) + o_pixel // PATCH
    o_x = tl.load(p_left + i_patch) + o_pixel % PATCH
    p_picture = p_frames + (i_frame.to(tl.int64) * channels + i_channel) * height * width
    p_out = p_rows + (i_row.to(tl.int64) * channels + i_channel) * PATCH * PATCH + o_pixel
    if (scale == height) & (scale == width):
        tl.store(p_out, tl.load(p_picture + o_y * width + o_x, mask=m_pixel), mask=m_pixel)
    else:
        b_y = (o_y.to(tl.float32) + 0.5) * (height.to(tl.float32) / scale) - 0.5
        b_x = (o_x.to(tl.float32) + 0.5) * (width.to(tl.float32) / scale) - 0.5
        b_top, b_left = tl.floor(b_y), tl.floor(b_x)
        b_down, b_right = b_y - b_top, b_x - b_left
        b_sum = tl.zeros([PIXELS], tl.float32)
        for tap_y in tl.static_range(4):
            o_source_y = tl.minimum(tl.maximum(b_top.to(tl.int32) + (tap_y - 1), 0), height - 1)
            b_line = tl.zeros([PIXELS], tl.float32)
            for tap_x in tl.static_range(4):
                o_source_x = tl.minimum(tl.maximum(b_left.to(tl.int32) + (tap_x - 1), 0), width - 1)
                b_pixel = tl.load(p_picture + o_source_y * width + o_source_x, mask=m_pixel)
                b_line += _weight(b_right, tap_x) * b_pixel.to(tl.float32)
            b_sum += _weight(b_down, tap_y) * b_line
        tl.store(p_out, b_sum.to(p_rows.dtype.element_ty), mask=m_pixel)


@functools.lru_cache(maxsize=16)
def patch_tables(
    scales: tuple[int, ...], patch_size: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return for every patch index its scale and its top and left edge there, (patches of a frame,) int32
    each."""
    places = [
        (scale, row * patch_size, column * patch_size)
        for scale in scales
        for row in range(scale // patch_size)
        for column in range(scale // patch_size)
    ]
    sizes, tops, lefts = torch.tensor(places, dtype=torch.int32, device=device).T.contiguous()
    return sizes, tops, lefts


def patch_gather(
    frames: Tensor, frame: Tensor, patch: Tensor, scales: Sequence[int], patch_size: int
) -> Tensor:
    """See :func:`kernels.patch_gather.reference.patch_gather`."""
    if not frames.is_floating_point():
        raise ValueError(f"frames hold {frames.dtype}: normalised floating point pixels are needed")
    frames, frame, patch = frames.contiguous(), frame.contiguous(), patch.contiguous()
    _, channels, height, width = frames.shape
    rows = frames.new_empty(len(patch), channels * patch_size**2)
    if len(patch):
        patch_gather_kernel[(len(patch), channels)](
            frames, frame, patch, *patch_tables(tuple(scales), patch_size, frames.device), rows, channels,
            height, width,
            PATCH=patch_size, PIXELS=triton.next_power_of_2(patch_size**2), num_warps=4,
        )  # fmt: skip
    return rows
