"""Work counters: the FLOPs and bytes of a call, from shapes, so that "more work" and "slower work" are told
apart."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """Work of a computation, whatever carries it out."""

    flops: int = 0
    """Multiplications and additions of matrix products, convolutions and attention; element-wise work is left
    out."""
    bytes: int = 0
    """Least traffic with memory: weights and caches once for each time they are needed, inputs once."""

    def __add__(self, other: "Work") -> "Work":
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: int) -> "Work":
        return Work(self.flops * times, self.bytes * times)


def transformer_work(
    layers: int, width: int, mlp_width: int, tokens: int, pairs: int, element_size: int
) -> Work:
    """Return the work of ``layers`` transformer layers over ``tokens`` tokens.

    ``mlp_width`` is that of a two-layer perceptron, ``pairs`` counts the pairs of a query and a key it sees.
    """
    weights = 4 * width**2 + 2 * width * mlp_width
    # Activations pass through memory a few times a layer at least: in, queries, keys, values, out.
    return Work(
        layers * (2 * tokens * weights + 4 * width * pairs),
        element_size * layers * (weights + 5 * tokens * width),
    )
