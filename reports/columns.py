"""Columns of tables of cells: what each holds, in which unit, and how it is read."""

from collections.abc import Callable, Sequence

from bench.records import BUSY, WHOLE
from bench.statistics import Summary
from reports.document import Column
from reports.naming import several_runs, unusual_text, usual_axes, varying_axes
from reports.results import EAGER, CellResult, peer
from reports.units import (
    Format,
    exponential,
    fixed,
    giga,
    mean_count,
    mebibytes,
    milliseconds,
    number,
    percent,
    significant,
    tera,
    text,
)

CellColumn = Column[CellResult]
Base = Callable[[CellResult], CellResult | None]
"""Finds the cell that another is held against."""

MARK = "!"
"""Stands beside what was measured while other programs were busy."""
_AXIS_UNITS = {"chunk": "frames", "batch": "clips"}
_TERA_FROM = 1e12
"""Rates are in TFLOP/s where the highest is at least one, else in GFLOP/s."""

STATUS: CellColumn = Column("status", "status", lambda result: result.status.replace("_", " "), numeric=False)
KEPT: CellColumn = Column("kept", "kept", lambda result: result.kept_ratio, "%", percent)
MEMORY: CellColumn = Column("memory", "memory", lambda result: result.peak_memory, "MiB", mebibytes, spare=2)
ENERGY: CellColumn = Column(
    "energy", "energy", lambda result: result.per("clip", result.energy), "J/clip", number, spare=5
)

AGREEMENT: CellColumn = Column(
    "agreement",
    "agree",
    lambda result: result.quality("agreement"),
    "%",
    percent,
    spare=1,
    note=f"agree is the share of patches that {EAGER} in float32 chooses too, mean over frames",
)


class Doubted(float):
    """A ratio of times that other programs have had a part in."""


def doubted(value: float, is_so: bool) -> float:
    """Return a ratio of times, as :class:`Doubted` where that is so."""
    return Doubted(value) if is_so else value


def marked(format: Format) -> Format:
    """Return a format that puts a mark beside ratios that are doubted."""
    return lambda value: f"{format(value)} {MARK}" if isinstance(value, Doubted) else format(value)


DISTURBED_NOTE = (
    f"{MARK} marks cells, and ratios of such cells, during which other programs used more than "
    f"{100 * BUSY:.0f} % of the CPUs"
)
DISTURBED: CellColumn = Column(
    "other_programs",
    "",
    lambda result: MARK if result.disturbed else None,
    numeric=False,
    format=lambda value: str(value or ""),
    note=DISTURBED_NOTE,
)


def median_of(summary: Summary) -> float:
    """Return the median: the usual part of a summary to show."""
    return summary.median


def identity_columns(results: Sequence[CellResult]) -> list[CellColumn]:
    """Return what tells the rows apart: the run where there are several, and every axis that varies.

    Axes that most cells leave at one value share a column, which is empty for those cells.
    """
    columns: list[CellColumn] = []
    if several_runs(results):
        columns.append(Column("device", "device", lambda result: result.label, numeric=False))
    usual = usual_axes(results)
    columns += [_axis_column(name, results) for name in varying_axes(results) if name not in usual]
    if usual:
        columns.append(
            Column(
                "unusual",
                "other axes",
                lambda result: unusual_text(result, usual),
                format=str,
                numeric=False,
            )
        )
    return columns or [_axis_column("workload", results)]


def _axis_column(name: str, results: Sequence[CellResult]) -> CellColumn:
    numeric = all(isinstance(result.axis(name), int | float | None) for result in results)
    return Column(name, name, lambda result: result.axis(name), _AXIS_UNITS.get(name, ""), text, numeric)


def time_column(
    key: str,
    heading: str,
    stage: str,
    unit: str,
    *,
    part: Callable[[Summary], float] = median_of,
    format: Format = milliseconds,
    spare: int = 0,
    note: str = "times are medians",
) -> CellColumn:
    """Return the time of a stage for each ``clip``, ``frame`` or ``call``."""

    def value(result: CellResult) -> float | None:
        summary = result.stages.get(stage)
        return result.per(unit, part(summary)) if summary else None

    symbol = "ms" if format is milliseconds else "µs"
    return Column(key, heading, value, f"{symbol}/{unit}", format, spare=spare, note=note)


def count_column(
    key: str, heading: str, counter: str, unit: str = "clip", spare: int = 0, note: str = ""
) -> CellColumn:
    """Return how much of some work was done for each ``clip`` or ``call``."""

    def value(result: CellResult) -> float | None:
        return result.per(unit, result.counter(counter))

    return Column(key, heading, value, f"/{unit}", mean_count, spare=spare, note=note)


def quality_column(name: str, heading: str, unit: str, decimals: int, spare: int = 0) -> CellColumn:
    """Return a figure of picture quality."""
    return Column(name, heading, lambda result: result.quality(name), unit, fixed(decimals), spare=spare)


def step_time(result: CellResult) -> float | None:
    """Return the seconds of a decode step."""
    steps, seconds = result.counter("decode_steps"), result.median("gaze.steps")
    return seconds / steps if seconds is not None and steps else None


def speed_up_column(base: Base, name: str, stage: str = WHOLE) -> CellColumn:
    """Return how many times as fast a cell is in a stage as its ``base``, which is called ``name``."""

    def value(result: CellResult) -> float | None:
        held_against = base(result)
        ours, theirs = (
            each.per("call", each.median(stage)) if each else None for each in (result, held_against)
        )
        if not (held_against and ours and theirs):
            return None
        return doubted(theirs / ours, result.disturbed or held_against.disturbed)

    return Column("speed_up", "speed-up", value, "×", marked(number), note=f"speed-up is over {name}")


def rate_columns(results: Sequence[CellResult]) -> list[CellColumn]:
    """Return what was moved and computed in a second, by the least bytes and FLOPs that the result needs."""
    highest = max((result.rate("flops") or 0.0 for result in results), default=0.0)
    return [
        Column("bandwidth", "traffic", lambda result: result.rate("bytes"), "GB/s", giga, spare=3),
        compute_column("compute", highest, lambda result: result.rate("flops"), spare=1),
    ]


def compute_column(
    heading: str, highest: float, value: Callable[[CellResult], float | None], spare: int = 0
) -> CellColumn:
    """Return floating-point operations a second, in a unit that suits the ``highest`` there is."""
    unit, format = ("TFLOP/s", tera) if highest >= _TERA_FROM else ("GFLOP/s", giga)
    return Column(heading, heading, value, unit, format, spare=spare)


def ceiling_column(key: str, heading: str, counter: str) -> CellColumn:
    """Return the share of what the device was measured to do at best, beside the cell itself."""

    def value(result: CellResult) -> float | None:
        rate, ceiling = result.rate(counter), result.figure(f"ceiling.{counter}_per_second")
        return rate / ceiling if rate and ceiling else None

    note = (
        "of copy and of matmul are shares of a large copy's and a large matrix product's rate, measured here"
    )
    return Column(key, heading, value, "%", percent, note=note)


def error_column(detail: str, note: str, spare: int) -> CellColumn:
    """Return the largest difference from the definition."""
    return Column(
        "error", "error", lambda result: result.figure(detail), format=exponential, spare=spare, note=note
    )


def same_patches_column(results: Sequence[CellResult]) -> CellColumn:
    """Return whether the patches are those that the definition chooses in single precision."""

    def value(result: CellResult) -> str | None:
        exact = peer(result, results, engine=EAGER, dtype="float32")
        if exact is None or exact is result or not (result.patch_hash and exact.patch_hash):
            return None
        return "same" if result.patch_hash == exact.patch_hash else "differ"

    return Column(
        "patches",
        "patches",
        value,
        numeric=False,
        note=f"patches are held against those of {EAGER} in float32",
    )


def over_ours_columns() -> list[CellColumn]:
    """Return how many times as long as ours a peer took, with the interval; empty where there is no peer."""

    def interval(result: CellResult) -> str | None:
        ratio = result.over_ours
        return f"{significant(ratio.low)} to {significant(ratio.high)}" if ratio else None

    note = "over ours is a peer's time over that of our engine, repeated in turns with it"
    return [
        Column(
            "over_ours",
            "over ours",
            lambda result: doubted(result.over_ours.estimate, result.disturbed) if result.over_ours else None,
            "×",
            marked(number),
            note=note,
        ),
        Column("over_ours_interval", "95 % interval", interval, "×", spare=1),
    ]
