"""Interval rule: how two recorded runs were compared before the difference between runs was known.

Kept to be tried out beside what took its place, on the same data (``bench selfcheck``). A stage was slower
when the whole bootstrap interval around the ratio of medians was, and the ratio of the fastest repetitions
too, unless other programs had been busier by more than a tenth of the CPUs meanwhile.
"""

from bench.margins import LOAD_TOLERANCE
from bench.meters.cpu_load import others_share
from bench.recorded import SHARE_FLOOR
from bench.records import Record
from bench.samples import seconds_of, top_level_stages
from bench.statistics import ENOUGH, ratio_of_medians, summarise
from bench.verdicts import Verdict, by_interval

TOLERANCE = 0.10


def interval_verdicts(a: Record, b: Record) -> dict[str, Verdict]:
    """Return what the rule says of each top-level stage of a cell in two runs."""
    stages = [stage for stage in top_level_stages(a.samples) if stage in top_level_stages(b.samples)]
    whole = max((summarise(seconds_of(a.samples, stage)).median for stage in stages), default=0.0)
    busier = others_share(b.samples) - others_share(a.samples)
    return {stage: _verdict(seconds_of(a.samples, stage), seconds_of(b.samples, stage), whole, busier)
            for stage in stages}  # fmt: skip


def _verdict(a: list[float], b: list[float], whole: float, busier: float) -> Verdict:
    if abs(summarise(b).median - summarise(a).median) < SHARE_FLOOR * whole:
        return Verdict.SAME
    if min(len(a), len(b)) < ENOUGH:
        return Verdict.UNDECIDED
    ratio = ratio_of_medians(a, b)
    found = by_interval(ratio.low, ratio.high, TOLERANCE)
    if found is Verdict.SLOWER and (ratio.floor <= 1 + TOLERANCE or busier > LOAD_TOLERANCE):
        return Verdict.UNDECIDED
    if found is Verdict.FASTER and (ratio.floor >= 1 / (1 + TOLERANCE) or -busier > LOAD_TOLERANCE):
        return Verdict.UNDECIDED
    return found
