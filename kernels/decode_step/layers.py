"""The gaze decoder's layers and choice in plain torch, over whatever attention the caller brings.

Everything that decodes shares these functions: generation on the host, the captured form, and teacher-forced
scoring.
"""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

Attention = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""Attention of one layer: (layer, query, key, value), each (batch, heads, tokens, head_dim), to query's
shape."""


class Layer(Protocol):
    """Weights of a layer of C channels, F in the MLP, with the gains of its norms folded in."""

    @property
    def query_key_value(self) -> Tensor:
        """(3C, C), query and key rows with rotary pairs side by side."""

    @property
    def output(self) -> Tensor:
        """(C, C)."""

    @property
    def gate_up(self) -> Tensor:
        """(2F, C)."""

    @property
    def down(self) -> Tensor:
        """(C, F)."""


class Weights(Protocol):
    """Weights of the decoder."""

    @property
    def embedding(self) -> Tensor:
        """(vocabulary, C); the last row is EOS."""

    @property
    def layers(self) -> "tuple[Layer, ...]": ...

    @property
    def norm_floor(self) -> Tensor:
        """(), sqrt(C * eps) of the norms."""

    @property
    def heads(self) -> Tensor:
        """(group * vocabulary + group, C): patch logits, then loss predictions."""


class Modules(Protocol):
    """Layers and heads to call, where what hangs on them (hooks, adapters) is to count: the ``modules`` of
    weights that have them."""

    def decode(self, x: Tensor, rotation: Tensor, attention: Attention) -> Tensor:
        """Do as :func:`decode`; the final norm may be in."""

    def predict(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Do as :func:`predict`, of what :meth:`decode` returned."""


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn the channel pairs of queries or keys (..., head_dim) by complex ``rotation`` (..., head_dim /
    2)."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)))
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)


def to_unit_length(x: Tensor, floor: Tensor) -> Tensor:
    """RMSNorm without gains and up to a constant, x / sqrt(|x|² + floor²): three operations instead of
    six."""
    wide = x.float()
    length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return (wide / torch.hypot(length, floor)).to(x.dtype)


def decode(
    x: Tensor,
    weights: Weights,
    heads: int,
    rotation: Tensor,
    attention: Attention,
    *,
    last: int | None = None,
) -> Tensor:
    """Run the layers on embeddings ``x`` (batch, tokens, C); return hidden states before the final norm.

    ``rotation`` is complex, (1 or batch, tokens, head_dim / 2), one row for each token's position. With
    ``last`` the final layer computes only the last so many tokens after attention, since nobody reads the
    others.
    """
    modules: Modules | None = getattr(weights, "modules", None)
    if modules is not None:
        return modules.decode(x, rotation, attention)
    rotation = rotation[:, :, None, None]  # (1 or batch, tokens, query or key, head, pair)
    for i, layer in enumerate(weights.layers):
        batch, tokens, width = x.shape
        qkv = F.linear(to_unit_length(x, weights.norm_floor), layer.query_key_value)
        qkv = qkv.view(batch, tokens, 3, heads, width // heads)
        query, key = rotate(qkv[:, :, :2], rotation).unbind(2)
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), qkv[:, :, 2].transpose(1, 2)
        if last is not None and i == len(weights.layers) - 1:
            query, x = query[:, :, -last:], x[:, -last:]
        attended = attention(i, query, key, value).transpose(1, 2).flatten(2)
        x = x + F.linear(attended, layer.output)
        gate, up = F.linear(to_unit_length(x, weights.norm_floor), layer.gate_up).chunk(2, dim=-1)
        x = x + F.linear(F.silu(gate) * up, layer.down)
    return x


def predict(hidden: Tensor, weights: Weights, group: int) -> tuple[Tensor, Tensor]:
    """Return float32 patch logits (..., group, vocabulary) and loss predictions (..., group) of states (...,
    C)."""
    modules: Modules | None = getattr(weights, "modules", None)
    if modules is not None:
        return modules.predict(hidden)
    vocabulary = weights.embedding.shape[0]
    made = F.linear(to_unit_length(hidden, weights.norm_floor), weights.heads).float()
    logits, losses = made.split([group * vocabulary, group], dim=-1)
    return logits.unflatten(-1, (group, vocabulary)), losses


Pick = Callable[[Tensor], Tensor]
"""How a head picks: from (batch, vocabulary) scores, -inf where closed, to (batch, 1) int64 indices."""


def best(scores: Tensor) -> Tensor:
    """Return (batch, 1) the index of the highest of (batch, vocabulary) scores."""
    return scores.argmax(dim=-1, keepdim=True)


def choose_distinct(scores: Tensor, pick: Pick = best) -> Tensor:
    """Let each head pick in turn from (batch, heads, vocabulary) scores what no head before it has; changes
    ``scores``.

    -inf marks what may not be picked. Returns (batch, heads) int64.
    """
    chosen = []
    for head in range(scores.shape[1]):
        index = pick(scores[:, head])
        scores.scatter_(2, index[:, None].expand(-1, scores.shape[1], 1), float("-inf"))
        chosen.append(index)
    return torch.cat(chosen, dim=1)
