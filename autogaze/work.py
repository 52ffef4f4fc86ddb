"""How much work a call is: counted from shapes, so that "more work" and "slower work" can be told apart."""

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
