"""Recorded stages: what two runs that were made apart say of one stage's time.

Belief about noise: on a shared machine it comes in bursts and only adds time, and two runs of the same tree
may differ by far more than the interval around their medians says. A stage therefore counts as slower only
when all of this holds, and as faster likewise:

* the whole bootstrap interval around the ratio of medians lies beyond the tolerance, on the wall clock and on
  the second clock (processor time on a CPU, device time on a GPU), and so does the ratio of the two fastest
  repetitions, which bursts hardly reach;
* the ratio exceeds what two runs of one tree differ by (:mod:`bench.margins`);
* the share of the CPUs that other programs had does not explain it;
* it is no more than what a change of work explains (:mod:`bench.work`).

``same`` says that both clocks' whole intervals lie within the tolerance under like load. That a difference
between the runs hid a slowdown is not excluded by that; only trees measured in turns exclude it. Whatever is
neither is undecided, with the reason. Runs from before processor time was recorded have one clock: beyond the
margin of a machine that was never calibrated that clock is believed, below it nothing is.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bench.margins import LOAD_TOLERANCE, UNCALIBRATED, Margin
from bench.meters.cpu_load import others_share
from bench.records import OURS, Record
from bench.samples import seconds_of, witness_of
from bench.statistics import ENOUGH, Ratio, percentile, ratio_of_medians, summarise
from bench.verdicts import Verdict, by_interval
from bench.work import WorkChange

SHARE_FLOOR = 0.02
"""A stage matters when it may change the cell's whole time by at least this share."""
PERCENTILES = (90, 99)
"""Those that are compared, where there are the samples for them."""

_CHANGED = (Verdict.SLOWER, Verdict.FASTER)


@dataclass(frozen=True)
class StageComparison:
    """One top-level stage of a cell in both runs; times in seconds, a repetition."""

    stage: str
    median_a: float
    median_b: float
    ratio: Ratio
    """Of wall-clock times."""
    witness: Ratio | None
    """Of the second clock's times; None where a run has none."""
    margin: Margin
    work: WorkChange | None = None
    verdict: Verdict = Verdict.UNDECIDED
    reason: str = ""
    """Why it is undecided, or what explains it."""
    percentiles: tuple[tuple[int, float, float], ...] = ()
    """Percentile, and its value in A and in B."""

    @property
    def slower_work(self) -> tuple[float, float]:
        """Between which factors the same work became slower: the ratio without the change of work."""
        if self.work is None:
            return self.ratio.estimate, self.ratio.estimate
        return self.ratio.estimate / self.work.most, self.ratio.estimate / self.work.least


def compare_stage(
    a: Record, b: Record, stage: str, tolerance: float, margin: Margin, work: WorkChange | None, whole: float
) -> StageComparison:
    """Compare a stage that both records have; ``whole`` is the longest stage's median in A, in seconds."""
    seconds = seconds_of(a.samples, stage), seconds_of(b.samples, stage)
    second = witness_of(a.samples, stage), witness_of(b.samples, stage)
    found = StageComparison(
        stage,
        summarise(seconds[0]).median,
        summarise(seconds[1]).median,
        ratio_of_medians(*seconds),
        ratio_of_medians(*second) if all(second) else None,
        margin,
        work,
        percentiles=_percentiles(*seconds),
    )
    if min(map(len, seconds)) < ENOUGH:
        return replace(found, reason=found.ratio.warnings[0])
    # What others do beside it may be a whole of its own: that is a peer's.
    share = 1.0 if stage == OURS else found.median_a / whole
    busier = others_share(b.samples) - others_share(a.samples)
    verdict, reason = _judged(found, tolerance, busier)
    if verdict is not Verdict.SAME and _most_change(found, verdict) * share < SHARE_FLOOR:
        verdict, reason = Verdict.NEGLIGIBLE, "too small a share of the whole to matter"
    return replace(found, verdict=verdict, reason=reason)


def _most_change(found: StageComparison, verdict: Verdict) -> float:
    """Return the largest share that the stage may have changed by, with the change of work or without it;
    where that is not known to be a change, noise between the runs may hide more."""
    noise = found.margin.ratio if verdict is Verdict.UNDECIDED else 1.0
    least, most = (found.work.least, found.work.most) if found.work else (1.0, 1.0)
    return max(found.ratio.high / min(1.0, least) * noise - 1, 1 - found.ratio.low / max(1.0, most) / noise)


def _judged(found: StageComparison, tolerance: float, busier: float) -> tuple[Verdict, str]:
    raw = _by_clock(found.ratio, tolerance)
    wall = _by_clock(found.ratio, tolerance, found.work)
    if raw in _CHANGED and wall is not raw and found.work is not None:
        return _explained(raw, found.work)
    if wall is Verdict.UNDECIDED:
        return wall, "too few samples for so much noise"
    if reason := _load(wall, busier):
        return Verdict.UNDECIDED, reason
    if found.witness is None:
        if wall in _CHANGED and _size(found.ratio, found.work) > max(UNCALIBRATED, found.margin.ratio):
            return wall, ""
        return Verdict.UNDECIDED, f"a run has no processor time, and the change is below {UNCALIBRATED:g} ×"
    second = _by_clock(found.witness, tolerance, found.work)
    if second is not wall:
        says = {Verdict.UNDECIDED: "nothing certain"}
        said = [says.get(each, each.value) for each in (wall, second)]
        return Verdict.UNDECIDED, f"the wall clock says {said[0]}, the second clock {said[1]}"
    if wall in _CHANGED and _size(found.ratio, found.work) <= found.margin.ratio:
        return Verdict.UNDECIDED, f"two runs of one tree may differ by {found.margin.ratio:.2f} × here"
    return wall, ""


def _by_clock(ratio: Ratio, tolerance: float, work: WorkChange | None = None) -> Verdict:
    """Return what one clock says of the time that a change of work leaves to be explained."""
    least, most = (work.least, work.most) if work else (1.0, 1.0)
    found = by_interval(ratio.low / most, ratio.high / least, tolerance)
    floor = by_interval(ratio.floor / most, ratio.floor / least, tolerance)
    return Verdict.UNDECIDED if found in _CHANGED and floor is not found else found


def _size(ratio: Ratio, work: WorkChange | None) -> float:
    """Return how many times as long, or as short, the same work takes at least."""
    least, most = (work.least, work.most) if work else (1.0, 1.0)
    return max(ratio.estimate / most, least / ratio.estimate)


def _explained(raw: Verdict, work: WorkChange) -> tuple[Verdict, str]:
    verdict = Verdict.MORE_WORK if raw is Verdict.SLOWER else Verdict.LESS_WORK
    if work.fitted:
        return verdict, f"{work}, which a fit to this run's cells prices at {work.least:.3f} ×"
    return verdict, f"{work}; too few like cells to fit a price to, so some of it may be other than that"


def _load(verdict: Verdict, busier: float) -> str:
    """Say how other programs, ``busier`` by so much in B, may explain what the wall clock says."""
    suspicion = {Verdict.SLOWER: busier, Verdict.FASTER: -busier}.get(verdict, abs(busier))
    if suspicion <= LOAD_TOLERANCE:
        return ""
    return f"other programs used {abs(busier):.0%} more of the CPUs during {'B' if busier > 0 else 'A'}"


def _percentiles(a: Sequence[float], b: Sequence[float]) -> tuple[tuple[int, float, float], ...]:
    found = ((percent, percentile(a, percent), percentile(b, percent)) for percent in PERCENTILES)
    return tuple((percent, x, y) for percent, x, y in found if x is not None and y is not None)
