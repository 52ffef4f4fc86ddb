"""Attention by variable-length flash kernels: padding left out, no mask ever built.

On a GPU these are FlashAttention-2's, of the flash-attn package or torch's own: one launch for all videos. On
a CPU it is ATen's flash kernel, which computes a sequence at a time.

The kernels see sequences of queries, each over a range of consecutive keys, causal or not. Every mask is such
sequences: a whole video for ``causal`` and ``bidirectional``, a frame where frames are independent (the class
token's key is repeated for each, which is all that is copied).

``block_causal``: each frame is a sequence of queries whose keys are a prefix of its video. Prefixes overlap,
which lengths accumulated from sequence to sequence cannot say. Where the kernel takes the number of keys
apart from where they start (``seqused_k`` of ``torch.nn.attention.varlen``), all frames of all videos are one
call and share the keys in place. Block tables would say it too, but need pages of 256 keys, so a copy, and a
kernel that gives wrong results when it splits keys (pytorch issue 194167). ``seqused_k`` has no gradients,
and neither flash-attn's public function nor torch before 2.12 takes it: then there is one call for each
frame, over all videos, in which sequences without queries skip the keys that the frame must not see. Their
gradients would not be written, so training with a block-causal mask is refused on a GPU.

No keys are split among blocks in this form of the kernels: a video gets in a batch, bit for bit, what it gets
alone.
"""

import functools
import importlib
import importlib.util
import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby, pairwise

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from autogaze.attention.cached import CachedLayout
from autogaze.attention.packed import PackedLayout, Segment
from autogaze.errors import BackendUnavailable

_DTYPES = (torch.float16, torch.bfloat16)
_CAPABILITY = (8, 0)
_LARGEST_HEAD = 256


@dataclass(frozen=True, eq=False)
class Sequences:
    """What one call of a kernel computes: S sequences of queries, each over consecutive keys of a row."""

    cu_query: Tensor
    """(S + 1,) int32: where each sequence's queries start, and where the last one's end."""
    cu_key: Tensor
    """(S + 1,) int32: the same for keys."""
    longest_query: int
    longest_key: int
    causal: bool = False
    """Whether the last query sees all keys, the one before all but the last, and so on."""
    used: Tensor | None = None
    """(S,) int32: keys of each sequence, where ``cu_key`` says only where they start."""


@dataclass(frozen=True)
class Kernel:
    """A variable-length flash attention kernel."""

    name: str
    run: Callable[[Tensor, Tensor, Tensor, Sequences, float], Tensor]
    """(query, key, value, sequences, scale) to like query; tensors are (total, heads, head_dim)."""
    takes_used: bool
    """Whether :attr:`Sequences.used` may be given; without gradients, unless ``on_host``."""
    on_host: bool = False
    """Whether it runs on the CPU, where heads may have any size and every gradient is written."""


@dataclass(frozen=True, eq=False)
class _Plan:
    """A mask as calls of a kernel."""

    calls: tuple[tuple[slice, Sequences], ...]
    """Which queries, and the sequences they form."""
    query_order: Tensor | None = None
    """(total,) int64: the queries in the order of the calls; None where that is the row's."""
    keys: Tensor | None = None
    """int64: the keys that the sequences refer to; None where they are the row."""


def obstacle(device: torch.device, dtype: torch.dtype) -> str | None:
    """Say why the kernels cannot run for a device and a data type, and the cure; None where they can."""
    if device.type == "cpu":
        return None if dtype.is_floating_point else f"computes floating-point numbers, not {_name(dtype)}"
    if device.type != "cuda":
        return f"runs on CUDA devices and CPUs, not on {device.type}; use 'sdpa'"
    if dtype not in _DTYPES:
        return f"computes in float16 or bfloat16 on a GPU, not in {_name(dtype)}; use 'sdpa'"
    if not torch.cuda.is_available():
        return "needs a CUDA device that torch can use; use device 'cpu' and 'sdpa'"
    capability = torch.cuda.get_device_capability(device)
    if capability < _CAPABILITY:
        needed, found = (".".join(map(str, version)) for version in (_CAPABILITY, capability))
        return f"needs a GPU of compute capability {needed} or newer, and this one has {found}; use 'sdpa'"
    return None


def remark(device: torch.device, kind: str, frame_independent: bool) -> str | None:
    """Say that a mask takes a call for each frame, where it does so for want of a newer kernel."""
    kernel = find_kernel(device.type)
    if kernel.takes_used or kind != "block_causal" or frame_independent:
        return None
    return (
        f"flash_attention_2 takes one call a frame under a block-causal mask: {kernel.name} has no "
        "seqused_k; torch's own from 2.12 on has it, and takes one call"
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


@functools.cache
def find_kernel(device_type: str) -> Kernel:
    """Return the kernel for ``cuda``, of the flash-attn package where that is installed, or for ``cpu``."""
    if device_type == "cpu":
        return Kernel("aten::_scaled_dot_product_flash_attention_for_cpu", _run_on_host, True, on_host=True)
    if importlib.util.find_spec("flash_attn") is not None:
        return _flash_attn_kernel()
    return _torch_kernel()


def _flash_attn_kernel() -> Kernel:
    try:
        flash_attn_varlen_func = importlib.import_module("flash_attn").flash_attn_varlen_func
    except ImportError as error:
        raise BackendUnavailable(
            "attention backend 'flash_attention_2' finds a flash-attn package that cannot be imported "
            f"({error}); install it anew for this torch, or uninstall it to use torch's own kernels"
        ) from error

    def run(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        output: Tensor = flash_attn_varlen_func(
            query,
            key,
            value,
            sequences.cu_query,
            sequences.cu_key,
            sequences.longest_query,
            sequences.longest_key,
            softmax_scale=scale,
            causal=sequences.causal,
        )
        return output

    return Kernel("flash_attn.flash_attn_varlen_func", run, takes_used=False)


def _torch_kernel() -> Kernel:
    from torch.nn.attention.varlen import varlen_attn

    varlen: Callable[..., Tensor] = varlen_attn  # type: ignore[assignment]  # its other result is not asked for
    takes_used = "seqused_k" in inspect.signature(varlen_attn).parameters

    def run(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scale: float) -> Tensor:
        return varlen(
            query,
            key,
            value,
            sequences.cu_query,
            sequences.cu_key,
            sequences.longest_query,
            sequences.longest_key,
            scale=scale,
            window_size=(-1, 0) if sequences.causal else (-1, -1),
            **({} if sequences.used is None else {"seqused_k": sequences.used}),
        )

    return Kernel("torch.nn.attention.varlen.varlen_attn", run, takes_used)


def _run_on_host(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scale: float) -> Tensor:
    """Compute a call on the CPU: there is no launch to save by computing the sequences as one."""
    q, k, v = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))  # (1, heads, total, head_dim)
    outputs = []
    # Pinned, so that no other kernel can stand in.
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        for start, tokens, first, seen in _ranges(sequences):
            causal, mask = sequences.causal, None
            if causal and tokens != seen:
                # Aligned at the end, where is_causal aligns at the start: a class token is before the frame.
                causal, mask = False, query.new_full((tokens, seen), float("-inf")).triu_(1 + seen - tokens)
            attended = scaled_dot_product_attention(
                q.narrow(2, start, tokens),
                k.narrow(2, first, seen),
                v.narrow(2, first, seen),
                attn_mask=mask,
                is_causal=causal,
                scale=scale,
            )
            outputs.append(attended.transpose(1, 2))
    return torch.cat(outputs, dim=1)[0]


def _ranges(sequences: Sequences) -> Iterator[tuple[int, int, int, int]]:
    """Give for every sequence that has queries the first of them and their number, and the same of keys."""
    queries, keys = sequences.cu_query.tolist(), sequences.cu_key.tolist()
    used = (sequences.cu_key.diff() if sequences.used is None else sequences.used).tolist()
    for start, end, first, seen in zip(queries, queries[1:], keys, used):
        if start < end:
            yield start, end - start, first, seen


def attend_packed(query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float) -> Tensor:
    """Masked softmax attention in a row of tokens; every tensor is (total, heads, head_dim)."""
    kernel = find_kernel(query.device.type)
    shares = layout.kind == "block_causal" and not layout.frame_independent
    if shares and not kernel.on_host and _learns(query, key, value):
        # The backward kernels leave the gradients of keys that no query asks for as they find them in memory.
        raise BackendUnavailable(
            "attention backend 'flash_attention_2' computes no gradients under a block-causal mask; "
            "use 'sdpa' or 'flex', or torch.no_grad()"
        )
    return attend_packed_with(kernel, query, key, value, layout, scale)


def _learns(*tensors: Tensor) -> bool:
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def attend_packed_with(
    kernel: Kernel, query: Tensor, key: Tensor, value: Tensor, layout: PackedLayout, scale: float
) -> Tensor:
    """Masked softmax attention in a row of tokens by a given kernel."""
    _check_head(query, kernel)
    device = query.device
    at_once = kernel.takes_used and (kernel.on_host or not _learns(query, key, value))
    plan = layout.once(("flash", device, at_once), lambda: _plan(layout, device, at_once))
    if plan.keys is not None:
        key, value = key[plan.keys], value[plan.keys]
    if plan.query_order is not None:
        query = query[plan.query_order]
    outputs = [kernel.run(query[queries], key, value, sequences, scale) for queries, sequences in plan.calls]
    output = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
    if plan.query_order is not None:
        output = torch.empty_like(output).index_copy(0, plan.query_order, output)
    return output


def attend_cached(query: Tensor, keys: Tensor, values: Tensor, layout: CachedLayout, scale: float) -> Tensor:
    """Attention over a cache; see :data:`autogaze.attention.registry.AttendCached`.

    The kernel of the CPU takes the heads of a cache as they lie, but has no mask that ends at the last key.
    """
    kernel = find_kernel(query.device.type)
    if not kernel.on_host:
        return attend_cached_with(kernel, query, keys, values, layout, scale)
    bias = layout.bias(query, keys)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=scale)


def attend_cached_with(
    kernel: Kernel, query: Tensor, keys: Tensor, values: Tensor, layout: CachedLayout, scale: float
) -> Tensor:
    """Attention over a cache by a given kernel: one sequence a video.

    For a batch, the cache of the layer is copied into a row, since its heads lie apart.
    """
    _check_head(query, kernel)
    batch, heads, tokens, head_dim = query.shape
    sequences = layout.once(
        ("flash", tokens, keys.shape[2], query.device),
        lambda: _cached_sequences(layout.seen, tokens, keys.shape[2], query.device),
    )
    q, k, v = (tensor.transpose(1, 2).flatten(0, 1) for tensor in (query, keys, values))
    return kernel.run(q, k, v, sequences, scale).view(batch, tokens, heads, head_dim).transpose(1, 2)


def _cached_sequences(seen: Sequence[int], tokens: int, cached: int, device: torch.device) -> Sequences:
    starts = range(len(seen))
    return Sequences(
        cu_query=_with_gaps([(video * tokens, (video + 1) * tokens) for video in starts], device),
        cu_key=_with_gaps([(video * cached, video * cached + seen[video]) for video in starts], device),
        longest_query=tokens,
        longest_key=cached,
        causal=True,
    )


def _check_head(query: Tensor, kernel: Kernel) -> None:
    head_dim = query.shape[-1]
    if kernel.on_host:
        return
    if head_dim % 8 or head_dim > _LARGEST_HEAD:
        raise BackendUnavailable(
            f"attention backend 'flash_attention_2' needs heads of a multiple of 8 channels, at most "
            f"{_LARGEST_HEAD}, and these have {head_dim}; use 'sdpa'"
        )


def _plan(layout: PackedLayout, device: torch.device, at_once: bool) -> _Plan:
    everything = slice(None)
    if layout.frame_independent:
        sequences, keys = _frames_apart(layout, device)
        return _Plan(((everything, sequences),), keys=keys)
    if layout.kind == "block_causal":
        if at_once:
            return _Plan(((everything, _prefixes(layout.segments, device)),))
        return _frame_after_frame(layout.segments, device)
    lengths = [length for length in layout.lengths if length]
    whole = _cumulative(lengths, device)
    return _Plan(
        ((everything, Sequences(whole, whole, max(lengths), max(lengths), layout.kind == "causal")),)
    )


def _frames_apart(layout: PackedLayout, device: torch.device) -> tuple[Sequences, Tensor | None]:
    """Every segment a sequence, over itself and the class token."""
    queries = [segment.length for segment in layout.segments]
    extra = [int(layout.class_token and segment.frame >= 0) for segment in layout.segments]
    lengths = [length + more for length, more in zip(queries, extra, strict=True)]
    keys = None
    if layout.class_token:
        spans = [
            span
            for segment, more in zip(layout.segments, extra, strict=True)
            for span in ((segment.video_start, segment.video_start + more), (segment.start, segment.end))
        ]
        keys = torch.cat([torch.arange(*span) for span in spans]).to(device)
    cu_query, cu_key = _cumulative(queries, device), _cumulative(lengths, device)
    return Sequences(cu_query, cu_key, max(queries), max(lengths), layout.kind == "causal"), keys


def _prefixes(segments: Sequence[Segment], device: torch.device) -> Sequences:
    """Every segment a sequence over its video up to its own end, the keys shared."""
    used = [segment.end - segment.video_start for segment in segments]
    starts = [segment.video_start for segment in segments]
    lengths = [segment.length for segment in segments]
    return Sequences(
        cu_query=_cumulative(lengths, device),
        cu_key=torch.tensor([*starts, segments[-1].end], dtype=torch.int32, device=device),
        longest_query=max(lengths),
        longest_key=max(used),
        used=torch.tensor(used, dtype=torch.int32, device=device),
    )


def _frame_after_frame(segments: Sequence[Segment], device: torch.device) -> _Plan:
    """One call for each frame, in which every video that has tokens there is a sequence over its prefix."""
    ordered = sorted(segments, key=lambda segment: (segment.frame, segment.start))
    calls, place = [], 0
    for _, of_videos in groupby(ordered, key=lambda segment: segment.frame):
        frame = list(of_videos)
        ends = list(accumulate((segment.length for segment in frame), initial=0))
        sequences = Sequences(
            cu_query=_with_gaps(list(pairwise(ends)), device),
            cu_key=_with_gaps([(segment.video_start, segment.end) for segment in frame], device),
            longest_query=max(segment.length for segment in frame),
            longest_key=max(segment.end - segment.video_start for segment in frame),
        )
        calls.append((slice(place, place + ends[-1]), sequences))
        place += ends[-1]
    if ordered == list(segments):
        return _Plan(tuple(calls))
    order = torch.cat([torch.arange(segment.start, segment.end) for segment in ordered])
    return _Plan(tuple(calls), query_order=order.to(device))


def _cumulative(lengths: Iterable[int], device: torch.device) -> Tensor:
    return torch.tensor(list(accumulate(lengths, initial=0)), dtype=torch.int32, device=device)


def _with_gaps(ranges: Sequence[tuple[int, int]], device: torch.device) -> Tensor:
    """Return (2 S + 1,) int32 cumulative lengths of S ranges and what lies before each, itself a sequence.

    Queries follow each other, so what lies before theirs is empty: keys that nobody asks for cost nothing.
    """
    return torch.tensor([0, *chain.from_iterable(ranges)], dtype=torch.int32, device=device)
