"""Statistics of samples, with their caveats.

Belief: noise on a shared machine only ever adds time, in bursts. So the median stands for a stage, its spread
is given by ranks and not by a standard deviation, and two medians are compared by resampling. Differences in
quality have no such side: their mean has the interval of Student's t, which is right for the few there are
where resampling is too narrow. Caveats are part of the results.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

ENOUGH = 5
"""Samples below which no interval is worth trusting."""

_CONFIDENCE = 0.95
_MOST_CONFIDENCE = 0.99
_RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True)
class Summary:
    """Order statistics of one sample, in its unit."""

    count: int
    median: float
    p5: float
    p95: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Ratio:
    """How many times larger B is than A."""

    estimate: float
    """Median of B over median of A, or the median over pairs of B over A."""
    low: float
    high: float
    """Ends of the 95 % bootstrap interval; both equal the estimate where a sample has one value only."""
    floor: float
    """Smallest of B over smallest of A: what is left when the noise that adds time is taken away."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Mean:
    """The mean of a sample, in its unit."""

    estimate: float
    low: float
    high: float
    """Ends of the 95 % interval by Student's t; infinite where no two values differ, which leaves no
    spread to judge by."""
    p_value: float
    """Of a mean of zero, two-sided; 1 where the interval is infinite."""
    count: int
    warnings: tuple[str, ...]


def summarise(values: Sequence[float]) -> Summary:
    """Return the order statistics of ``values``; raises ``ValueError`` for none."""
    sample = np.asarray(values, dtype=float)
    if not sample.size:
        raise ValueError("no values to summarise")
    p5, median, p95 = (float(p) for p in np.percentile(sample, [5, 50, 95]))
    return Summary(sample.size, median, p5, p95, _caveats(sample.size))


def interval_of_median(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the ends of the 95 % interval of the median, two of the values themselves; None for fewer than
    six of them, of which no two are far enough apart.

    The k-th smallest and the k-th largest hold the median between them unless fewer than k values lie on one
    side of it, which is a matter of fair coins: nothing is supposed of the distribution (the sign test's
    interval, as in Conover, Practical Nonparametric Statistics, 3.2).
    """
    rank = _rank(len(values))
    if rank == 0:
        return None
    ordered = sorted(values)
    return ordered[rank - 1], ordered[-rank]


def half_width_of_median(values: Sequence[float]) -> float | None:
    """Return half of that interval as a share of the median; None for fewer than six values or no median."""
    interval = interval_of_median(values)
    median = float(np.median(values)) if values else 0.0
    return None if interval is None or median <= 0 else (interval[1] - interval[0]) / 2 / median


@cache
def _rank(count: int) -> int:
    """Return the largest k for which fewer than k heads in ``count`` tosses, or fewer than k tails, are
    improbable; 0 where there is none."""
    below, ways, rank = 0, 1, 0  # tosses with fewer than ``rank`` heads; with just as many
    while 2 * (below + ways) / 2**count <= 1 - _CONFIDENCE:
        below += ways
        ways = ways * (count - rank) // (rank + 1)
        rank += 1
    return rank


def ratio_of_medians(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Compare two samples of positive times; the same samples always give the same interval.

    The interval is scipy's bias-corrected bootstrap, and its percentile form where the correction is
    undefined (as it is when a sample hardly varies). Raises ``ValueError`` for an empty sample or a time that
    is not positive.
    """
    first, second = _times(a), _times(b)
    return _ratio(first, second, (first, second), _ratio_of_medians)


def ratio_of_pairs(a: Sequence[float], b: Sequence[float]) -> Ratio:
    """Compare two samples taken in turns: the n-th of each form a pair, and lie next to each other in time.

    What slows the machine for longer than a pair takes slows both and leaves their ratio alone, so that the
    interval is that of the median over pairs, by resampling pairs. Raises ``ValueError`` as
    :func:`ratio_of_medians` does, and for samples of different length.
    """
    if len(a) != len(b):
        raise ValueError(f"samples of {len(a)} and {len(b)} values are no pairs")
    first, second = _times(a), _times(b)
    return _ratio(first, second, (second / first,), np.median)


def _times(values: Sequence[float]) -> np.ndarray:
    times = np.asarray(values, dtype=float)
    if not times.size:
        raise ValueError("no values to compare")
    if times.min() <= 0:
        raise ValueError("times to compare must be positive")
    return times


def _ratio(
    first: np.ndarray, second: np.ndarray, samples: tuple[np.ndarray, ...], statistic: Callable[..., Any]
) -> Ratio:
    estimate = float(statistic(*samples))
    low, high = estimate, estimate
    if min(first.size, second.size) > 1 and any(map(np.ptp, samples)):
        low, high = _interval(samples, statistic)
    return Ratio(
        estimate,
        min(low, estimate),
        max(high, estimate),
        float(second.min() / first.min()),
        _caveats(min(first.size, second.size)),
    )


def mean_of(values: Sequence[float]) -> Mean:
    """Return the mean of ``values`` with its interval by Student's t; raises ``ValueError`` for none.

    Two conditions that were measured on the same things are compared by the mean of their differences. For
    independent normal differences the interval is exact from two values on, where a bootstrap of four leaves
    out the true mean in 20 % of cases instead of 5 %. Skewed differences make this one too narrow as well, at
    four values little more than at twenty-four (log-normal with sigma 0.5: 8 % and 7 %).
    """
    sample = np.asarray(values, dtype=float)
    if not sample.size:
        raise ValueError("no values to take the mean of")
    estimate, low, high, p_value = float(sample.mean()), -np.inf, np.inf, 1.0
    if np.ptp(sample):
        low, high, p_value = _student(sample, estimate)
    caveats = _caveats(sample.size, "intervals of so few suppose that they are normal")
    return Mean(estimate, low, high, p_value, sample.size, caveats)


def samples_needed(percent: float) -> int:
    """Return the fewest samples whose second largest is, with a confidence of 99 %, no less than the
    percentile: 64 for the 90th, 662 for the 99th.

    It is the binomial rule by which MLPerf inference (early stopping) accepts a percentile of one stream with
    one sample beyond it.
    """
    beyond, count = 1 - percent / 100, 2
    while (1 - beyond) ** count + count * beyond * (1 - beyond) ** (count - 1) > 1 - _MOST_CONFIDENCE:
        count += 1
    return count


def percentile(values: Sequence[float], percent: float) -> float | None:
    """Return a percentile above the median; None where the samples are too few for it."""
    if len(values) < samples_needed(percent):
        return None
    return float(np.percentile(np.asarray(values, dtype=float), percent))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number, in their order (Holm, 1979).

    Whichever are below a level, the chance that any of these is a false alarm is at most that level, however
    the tests depend on each other.
    """
    sample = np.asarray(p_values, dtype=float)
    order = np.argsort(sample)
    corrected = np.empty_like(sample)
    left = np.arange(sample.size, 0, -1)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(left * sample[order]))
    return [float(value) for value in corrected]


def _student(sample: np.ndarray, estimate: float) -> tuple[float, float, float]:
    """Return the ends of the interval around a mean, and the p-value of a mean of zero."""
    from scipy import stats

    error, freedom = float(sample.std(ddof=1)) / sample.size**0.5, sample.size - 1
    margin = error * float(stats.t.ppf((1 + _CONFIDENCE) / 2, freedom))
    return estimate - margin, estimate + margin, 2 * float(stats.t.sf(abs(estimate) / error, freedom))


def _ratio_of_medians(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.median(b, axis=axis) / np.median(a, axis=axis))


def _interval(samples: tuple[np.ndarray, ...], statistic: Callable[..., Any]) -> tuple[float, float]:
    from scipy import stats

    for method in ("BCa", "percentile"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = stats.bootstrap(
                samples,
                statistic,
                n_resamples=_RESAMPLES,
                confidence_level=_CONFIDENCE,
                method=method,
                rng=np.random.default_rng(_SEED),
            ).confidence_interval
        if np.isfinite([found.low, found.high]).all():
            break
    return float(found.low), float(found.high)


def _caveats(count: int, caveat: str = f"need at least {ENOUGH}") -> tuple[str, ...]:
    if count >= ENOUGH:
        return ()
    return (f"only {count} sample{'s' if count > 1 else ''}: {caveat}",)
