"""Goals on a GPU, and what the records say of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.records import OURS, WHOLE, AxisValue
from reports.columns import step_time
from reports.published import H100, H100_CHUNK, published_figures
from reports.results import CellResult

SPEED_UP = 50.0
"""Times as fast as the released code's published clip time."""
STEP_SECONDS = 100e-6
FLASH_SHARE = 0.8
RECONSTRUCTION_SHARE = 0.5

DTYPES = ("float32", "bfloat16")
SETTINGS = ("ratio_0.75", "ratio_1.00")

_CLIP: dict[str, AxisValue] = {"batch": 1, "chunk": H100_CHUNK}


@dataclass(frozen=True)
class Goal:
    """One goal, and what was found."""

    what: str
    target: str
    found: str | None
    """The figure, and what reached it; None where no cell measured it."""
    met: bool = False

    def __str__(self) -> str:
        verdict = "not measured" if self.found is None else "met" if self.met else "not met"
        found = "" if self.found is None else f": {self.found}"
        return f"{verdict:13} {self.what}{found}; goal: {self.target}"


def goals(results: Sequence[CellResult]) -> list[Goal]:
    """Return every goal, met or not; of several cells that could meet one, the best counts.

    What a peer reached is not the project's.
    """
    results = [result for result in results if OURS not in result.stages]
    return [
        *_steps(results),
        *_clips(results),
        _attention(results),
        *_reconstructions(results),
    ]


def _best(
    results: Sequence[CellResult],
    figure: Callable[[CellResult], float | None],
    better: Callable[[float, float], bool],
    workload: str,
    **axes: AxisValue,
) -> tuple[float, CellResult] | None:
    """Return the best figure among the cells that are ok and have these values of their axes."""
    best: tuple[float, CellResult] | None = None
    for result in results:
        fits = result.cell.workload == workload and axes.items() <= result.cell.axes.items()
        value = figure(result) if result.ok and fits else None
        if value is not None and (best is None or better(value, best[0])):
            best = value, result
    return best


def _least(a: float, b: float) -> bool:
    return a < b


def _most(a: float, b: float) -> bool:
    return a > b


def _clip_seconds(result: CellResult) -> float | None:
    return result.per("clip", result.median(WHOLE))


def _steps(results: Sequence[CellResult]) -> Iterator[Goal]:
    for dtype in DTYPES:
        best = _best(results, step_time, _least, "gaze", setting="ratio_0.75", dtype=dtype, **_CLIP)
        yield Goal(
            f"decode step at batch 1, mean over {H100_CHUNK} frames at ratio 0.75, {dtype}",
            f"{1e6 * STEP_SECONDS:.0f} µs or less",
            best and f"{1e6 * best[0]:.1f} µs with {best[1].axis('engine')}",
            best is not None and best[0] <= STEP_SECONDS,
        )


def _clips(results: Sequence[CellResult]) -> Iterator[Goal]:
    for setting in SETTINGS:
        published = _published(setting)[0]
        for dtype in DTYPES:
            best = _best(results, _clip_seconds, _least, "gaze", setting=setting, dtype=dtype, **_CLIP)
            yield Goal(
                f"gaze of a clip, {setting}, {dtype}, against {published:.2f} s published from an H100",
                f"{SPEED_UP:.0f} times as fast",
                best
                and f"{1e3 * best[0]:.1f} ms with {best[1].axis('engine')}, {published / best[0]:.0f} times",
                best is not None and published / best[0] >= SPEED_UP,
            )


def _attention(results: Sequence[CellResult]) -> Goal:
    what = "block-causal attention, share of the flash kernel's causal rate, bfloat16"
    target = f"{FLASH_SHARE:.0%} or more"

    def rate(result: CellResult) -> float | None:
        return result.rate("flops")

    flash = _best(
        results, rate, _most, "attention", backend="flash_attention_2", mask="causal", dtype="bfloat16"
    )
    if flash is None:
        return Goal(what, target, None)
    same = {name: flash[1].cell.axes[name] for name in ("tokens", "heads", "head_dim", "batch", "padding")}
    ours = _best(
        results, rate, _most, "attention", backend="triton", mask="block_causal", dtype="bfloat16", **same
    )
    if ours is None:
        return Goal(what, target, None)
    share = ours[0] / flash[0]
    found = f"{share:.0%}, {ours[0] / 1e12:.1f} of {flash[0] / 1e12:.1f} TFLOP/s at {same['tokens']} tokens"
    return Goal(what, target, found, share >= FLASH_SHARE)


def _reconstructions(results: Sequence[CellResult]) -> Iterator[Goal]:
    limit = RECONSTRUCTION_SHARE * (_published("ratio_0.75")[1] or 0.0)
    size: dict[str, AxisValue] = {"reconstructor": "released_size", "setting": "ratio_0.75"}
    for dtype in DTYPES:
        best = _best(results, _clip_seconds, _least, "reconstruct", dtype=dtype, **size, **_CLIP)
        yield Goal(
            f"VideoMAE of the released size, a clip at ratio 0.75, {dtype}",
            f"{1e3 * limit:.1f} ms or less, half of what is published from an H100",
            best and f"{1e3 * best[0]:.1f} ms",
            best is not None and best[0] <= limit,
        )


def _published(setting: str) -> tuple[float, float | None]:
    """Return the seconds of a clip that were published of gaze and of reconstruction."""
    (row,) = (row for row in published_figures() if row.source == H100 and row.value == setting)
    return row.gaze * H100_CHUNK, row.reconstruct and row.reconstruct * H100_CHUNK
