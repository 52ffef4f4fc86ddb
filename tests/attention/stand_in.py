"""A variable-length attention in plain torch, to stand in for the kernels that only GPUs run."""

import torch
from torch import Tensor

from autogaze.attention.flash import Kernel, Sequences


def run(query: Tensor, key: Tensor, value: Tensor, sequences: Sequences, scale: float) -> Tensor:
    """Compute a call as FlashAttention-2 defines it, sequence by sequence.

    Rows that no sequence covers hold what was in memory: here NaN.
    """
    check(query, key, sequences)
    output = torch.full_like(query, float("nan"))
    starts, ends = sequences.cu_query.tolist(), sequences.cu_query.tolist()[1:]
    keys, key_ends = sequences.cu_key.tolist(), sequences.cu_key.tolist()[1:]
    if sequences.used is not None:
        key_ends = [start + used for start, used in zip(keys, sequences.used.tolist())]
    for start, end, first, last in zip(starts, ends, keys, key_ends):
        q, k, v = query[start:end], key[first:last], value[first:last]
        scores = torch.einsum("qhd,khd->hqk", q.float(), k.float()) * scale
        if sequences.causal:  # the last query sees the last key
            seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril(last - first - (end - start))
            scores = scores.masked_fill(~seen, float("-inf"))
        output[start:end] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v.float()).to(value.dtype)
    return output


def check(query: Tensor, key: Tensor, sequences: Sequences) -> None:
    """Refuse what the kernels would read out of bounds for, or must not be given."""
    cu_query, cu_key = sequences.cu_query, sequences.cu_key
    assert cu_query.dtype == cu_key.dtype == torch.int32
    assert cu_query.shape == cu_key.shape
    assert cu_query[0] == 0
    assert cu_query[-1] == len(query)
    lengths = cu_key.diff()
    if sequences.used is None:
        assert cu_key[0] == 0
    else:
        assert not query.requires_grad
        assert sequences.used.dtype == torch.int32
        assert len(sequences.used) == len(cu_query) - 1
        lengths = sequences.used
    assert (cu_query.diff() >= 0).all()
    assert (cu_key.diff() >= 0).all()
    assert (lengths >= 0).all()
    assert (cu_key[:-1] + lengths <= len(key)).all()
    asked = cu_query.diff() > 0
    assert sequences.longest_query >= cu_query.diff().max()
    assert sequences.longest_key >= lengths[asked].max()
    assert (lengths[asked] > 0).all()


SHARING = Kernel("stand-in with seqused_k", run, takes_used=True)
PLAIN = Kernel("stand-in without", run, takes_used=False)
