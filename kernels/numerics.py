"""Matrix products inside kernels, the same on a GPU and under Triton's interpreter."""

import triton
import triton.language as tl

INTERPRETED: tl.constexpr = tl.constexpr(bool(triton.knobs.runtime.interpret))
"""Whether kernels run under the interpreter (``TRITON_INTERPRET=1`` when they were imported)."""

LAUNCH = {"enable_fp_fusion": True}
"""Options of every launch. Triton's own default for fused multiply-adds changes in 3.10, and with it sums."""


@triton.jit
def product(b_a, b_b, b_acc, PRECISION: tl.constexpr):
    """Return ``b_acc + b_a @ b_b`` in float32. ``PRECISION`` is what tl.dot may do to float32 inputs."""
    if INTERPRETED:  # Its dot knows no bfloat16. Widening changes no value, so the sum is the same.
        return tl.dot(b_a.to(tl.float32), b_b.to(tl.float32), b_acc, input_precision=PRECISION)
    return tl.dot(b_a, b_b, b_acc, input_precision=PRECISION)
