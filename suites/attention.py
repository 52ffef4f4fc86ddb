"""The workload ``attention``: one call of one attention backend, checked against the definition before it is
timed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from autogaze.errors import InputError
from autogaze.stages import stage
from suites.axes import ATTENTION_BACKENDS, ATTENTION_PRELOAD, DTYPES, at_least_one
from suites.outlook import Effort, Outlook
from suites.workload import Axis, AxisValue, Inputs, Quality

if TYPE_CHECKING:
    from torch import Tensor

    from autogaze.attention import FrameLayout

FRAMES = 16
"""Frames of a sequence, which its tokens are spread over as evenly as they can be."""

FRAME_INDEPENDENT = "+frame_independent"
MASKS = tuple(
    kind + suffix
    for suffix in ("", FRAME_INDEPENDENT)
    for kind in ("block_causal", "causal", "bidirectional")
)

CHECKED_SCORES = 2**26
"""Scores that the definition may hold at a time; of longer sequences so many rows are checked."""


_CALL_OPERATIONS = 10
COMPILED_PARTS = 8
"""What compiling a kernel costs, in compilations of the standard library's headers."""
_SCORE_PASSES = 6
"""Times that the definition writes or reads its scores: product, scale, mask, softmax, product."""


def _share(value: AxisValue) -> AxisValue:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
        raise InputError(
            f"padding {value} must be the share of tokens that are padding, at least 0 and below 1"
        )
    return float(value)


def tolerance(dtype: str, largest_value: float) -> float:
    """Return the largest difference from the definition that rounding explains.

    An output is a mean of values. In ``dtype`` its weights and the result are rounded once each: at most half
    an epsilon of the largest value for either. Scores and sums are single precision in every backend; the
    exponential turns their absolute errors, a few dozen epsilons for scores of this size, into relative ones.
    """
    import torch

    epsilon = torch.finfo(getattr(torch, dtype)).eps + 32 * torch.finfo(torch.float32).eps
    return largest_value * epsilon


def visible_pairs(layout: "FrameLayout", batch: int) -> int:
    """Return how many pairs of real tokens see each other, over a batch: the least there is to compute."""
    import torch

    from autogaze.attention.packed import packing_of

    pairs = 0
    for segment in packing_of(layout, batch, torch.device("cpu")).layout.segments:
        n, before = segment.length, segment.start - segment.video_start
        if layout.frame_independent:
            before = 0
        if layout.kind == "causal":
            pairs += n * before + n * (n + 1) // 2
        elif layout.kind == "bidirectional" and not layout.frame_independent:
            pairs += n * (segment.video_end - segment.video_start)
        else:
            pairs += n * (before + n)
    return pairs


class Attention:
    """One call on random queries, keys and values, the layout's masks made beforehand as for a deep model."""

    preload: ClassVar[Sequence[str]] = ("autogaze.attention",)
    axes: ClassVar[Mapping[str, Axis]] = {
        "backend": Axis("sdpa", known=ATTENTION_BACKENDS, preload=ATTENTION_PRELOAD),
        "mask": Axis("block_causal", known=MASKS),
        "tokens": Axis(4240, check=partial(at_least_one, "tokens")),
        "head_dim": Axis(64, check=partial(at_least_one, "head_dim")),
        "heads": Axis(12, check=partial(at_least_one, "heads")),
        "batch": Axis(1, check=partial(at_least_one, "batch")),
        "dtype": Axis("float32", known=DTYPES),
        "padding": Axis(0.0, check=_share),
    }

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        """Return what a call takes, and its check against the definition."""
        import torch

        from autogaze.attention import require_backend
        from autogaze.errors import BackendUnavailable

        backend, dtype = str(axes["backend"]), str(axes["dtype"])
        try:
            require_backend(backend, torch.device(inputs.device), getattr(torch, dtype))
        except BackendUnavailable as error:
            return Outlook(str(error))
        tokens, batch, heads, head_dim = (
            int(axes[name] or 1) for name in ("tokens", "batch", "heads", "head_dim")
        )
        values, size = batch * heads * tokens * head_dim, getattr(torch, dtype).itemsize
        rows = max(1, min(tokens, CHECKED_SCORES // (batch * heads * tokens)))
        scores = batch * heads * tokens * (tokens if backend == "eager" else rows)
        pairs = batch * tokens**2  # the definition computes every pair, and masks
        if backend != "eager":
            random = torch.Generator().manual_seed(inputs.seed)
            padding = 0.0 if backend == "sdpa" else float(axes["padding"] or 0)  # it masks padding, too
            layout = _layout(str(axes["mask"]), tokens, batch, padding, random, torch.device("cpu"))
            pairs = visible_pairs(layout, batch)
        call = Effort(dtype, attention_flops=4 * pairs * heads * head_dim, operations=_CALL_OPERATIONS)
        check = Effort(dtype, attention_flops=4 * values * rows, bytes=4 * _SCORE_PASSES * scores)
        if backend == "eager":
            call = replace(call, bytes=4 * _SCORE_PASSES * scores)
        compiled = Effort(compilations=COMPILED_PARTS) if backend == "flex" else Effort()
        held = 4 * values * size + (4 * scores if backend == "eager" else 0)
        return Outlook(
            setup=(Effort(random_values=3 * values), check, call * 2, compiled),
            repetition=(call,),
            memory_bytes=held + 2 * 4 * scores + 12 * values,
            certain_bytes=held,
        )

    def __init__(self, axes: Mapping[str, AxisValue], inputs: Inputs) -> None:
        import torch

        from autogaze.attention import kernels_that_ran, require_backend

        self.backend, self.dtype = str(axes["backend"]), str(axes["dtype"])
        device, dtype = torch.device(inputs.device), getattr(torch, self.dtype)
        backend = require_backend(self.backend, device, dtype)
        random = torch.Generator().manual_seed(inputs.seed)
        self.batch, tokens = int(axes["batch"] or 1), int(axes["tokens"] or 1)
        self.layout = _layout(
            str(axes["mask"]), tokens, self.batch, float(axes["padding"] or 0), random, device
        )
        # Laid out as a model's projections leave them.
        shape = (3, self.batch, tokens, int(axes["heads"] or 1), int(axes["head_dim"] or 1))
        values = torch.randn(shape, generator=random).to(device, dtype).transpose(2, 3)
        self.query, self.key, self.value = values.unbind()
        remark = backend.remark(device, self.layout.kind, self.layout.frame_independent)
        self.notes: list[str] = [] if remark is None else [remark]
        self.details: dict[str, Any] = {"attention": self.backend}
        with torch.inference_mode():
            self.details |= self._check(self._attend())
            self.details["attention.kernels"] = list(kernels_that_ran(self._attend))

    def run(self) -> "Tensor":
        import torch

        with torch.inference_mode(), stage("attention"):
            return self._attend()

    def quality(self, output: "Tensor") -> Quality:
        """Count the work; there are no patches to judge."""
        padding, slots = self.layout.padding, self.batch * self.layout.length
        padded = 0 if padding is None else int(padding.sum())
        # A score and its share of the output are a multiplication and an addition for each channel.
        flops = 4 * visible_pairs(self.layout, self.batch) * self.query.shape[1] * self.query.shape[3]
        traffic = 4 * (slots - padded) * self.query.shape[1] * self.query.shape[3] * self.query.element_size()
        counters: dict[str, float] = {
            "clips": self.batch,
            "frames": self.batch * FRAMES,
            "tokens": slots - padded,
            "padded_tokens": padded,
            "flops": flops,
            "bytes": traffic,
        }
        return Quality(patch_hash="", counters=counters)

    def _attend(self) -> "Tensor":
        from autogaze.attention import attend

        return attend(self.query, self.key, self.value, self.layout, self.backend)

    def _check(self, found: "Tensor") -> dict[str, Any]:
        """Compare with the definition; raise ``ArithmeticError`` where they differ: then nothing is timed."""
        import torch

        from autogaze.attention.eager import attend_rows

        batch, heads, length, head_dim = self.query.shape
        count = max(1, min(length, CHECKED_SCORES // (batch * heads * length)))
        rows = torch.linspace(0, length - 1, count).round().long().to(found.device)
        expected = attend_rows(self.query, self.key, self.value, self.layout, head_dim**-0.5, rows)
        difference = (found[:, :, rows].float() - expected.float()).abs().amax(dim=(1, 3))
        if self.layout.padded_tokens is not None:
            difference = difference.masked_fill(self.layout.padded_tokens[:, rows], 0.0)
        error, allowed = float(difference.max()), tolerance(self.dtype, float(self.value.abs().max()))
        if not error <= allowed:
            raise ArithmeticError(
                f"attention backend '{self.backend}' differs from the definition by {error:.3g}, "
                f"and rounding explains {allowed:.3g}"
            )
        return {"error.max": error, "error.allowed": allowed, "error.rows": count}


def _layout(mask: str, tokens: int, batch: int, padding: float, random: Any, device: Any) -> "FrameLayout":
    """Spread the tokens over the frames, and the padding at random over the tokens."""
    import torch

    from autogaze.attention import FrameLayout

    frames = tuple(len(part) for part in torch.arange(tokens).tensor_split(FRAMES))
    padded = None
    if padding:
        order = torch.rand(batch, tokens, generator=random).argsort(dim=1)
        padded = (order < round(tokens * padding)).to(device)
    kind = mask.removesuffix(FRAME_INDEPENDENT)
    return FrameLayout(frames, padded, kind, frame_independent=mask.endswith(FRAME_INDEPENDENT))  # type: ignore[arg-type]
