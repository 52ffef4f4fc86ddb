"""The transformer block of encoder and decoder, its parameters named as in transformers' ViTMAE."""

from torch import Tensor, nn
from torch.nn import functional as F

from autogaze.attention import attend_packed
from autogaze.attention.packed import PackedLayout


class QueryKeyValue(nn.Module):
    """The three projections into the attention."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)


class Dense(nn.Module):
    """One linear map; a module of its own because the checkpoints name it so."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.dense(x)
        return y


class Attention(nn.Module):
    """Multi-head self-attention over frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention = QueryKeyValue(width)
        self.output = Dense(width, width)

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (total, width), as ``x`` is."""
        projections = (self.attention.query, self.attention.key, self.attention.value)
        query, key, value = (linear(x).unflatten(1, (self.heads, -1)) for linear in projections)
        y: Tensor = self.output(attend_packed(query, key, value, layout, backend).flatten(1))
        return y


class Block(nn.Module):
    """Pre-norm attention and a two-layer perceptron with the exact GELU."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.intermediate = Dense(width, hidden)
        self.output = Dense(hidden, width)
        self.layernorm_before = nn.LayerNorm(width, eps=eps)
        self.layernorm_after = nn.LayerNorm(width, eps=eps)

    def forward(self, x: Tensor, layout: PackedLayout, backend: str) -> Tensor:
        """Return (total, width), as ``x`` is."""
        x = x + self.attention(self.layernorm_before(x), layout, backend)
        y: Tensor = x + self.output(F.gelu(self.intermediate(self.layernorm_after(x))))
        return y
