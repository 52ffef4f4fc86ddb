"""Calibration: this machine's noise floor, from a tree measured against itself.

Kept is what was measured, so that the spread can be estimated anew: for every cell and top-level stage, the
median time of each process, and for each pair of processes that took turns the median ratio of their
repetitions. Two kinds of noise follow.

*Between runs*: how far the medians of two processes lie apart that did the same work at different times. It
is what two recorded runs are judged by. The estimator is the median absolute difference of the logarithms of
all pairs of processes within a session, over 0.6745 (for a normal distribution that is the standard deviation
of such a difference; up to three in ten processes may be outliers). What sessions differ by is added as a
plain variance, since with few sessions no median can tell a shift from an outlier.

*In turns*: how far the ratio of two processes that took turns lies from 1 although both do the same, because
memory lies elsewhere. The estimator is the median of the absolute logarithms of these ratios, over 0.6745.

A floor is that standard deviation times the quantile of Student's t with one degree of freedom less than
there are processes: few processes make it wide.
"""

import hashlib
import json
import math
import os
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from autogaze.errors import InputError
from autogaze.files import write_text
from bench.environment import COMPARABILITY
from bench.records import AxisValue

_NORMAL = 0.6745
"""Median of the absolute value of a standard normal variable."""
_HARDWARE = ("device.", "gpu.", "cpu.")
"""Fields of the environment that are the machine's, and not of what is installed on it."""
FEWEST = 4
"""Processes below which nothing is made of a spread."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StageNoise(_Frozen):
    """What a session saw of one stage."""

    medians: tuple[float, ...]
    """Seconds of a repetition, one median for each process."""
    ratios: tuple[float, ...]
    """One for each pair of processes in turns."""


class Session(_Frozen):
    """One calibration of a suite."""

    started: datetime
    seconds: float
    commit: str | None
    dirty: bool | None
    suite: str
    suite_version: int
    others: float
    """Share of the CPUs that other programs had meanwhile."""
    cells: dict[str, dict[str, StageNoise]]
    """By key of the cell and stage."""

    @property
    def ended(self) -> datetime:
        return self.started + timedelta(seconds=self.seconds)

    def __str__(self) -> str:
        commit = f"{(self.commit or 'unknown commit')[:10]}{' with changes' if self.dirty else ''}"
        return f"{self.started:%Y-%m-%d %H:%M} at {commit}, others had {self.others:.0%} of the CPUs"


@dataclass(frozen=True)
class Spread:
    """How far two measurements of the same lie apart."""

    sigma: float
    """Standard deviation of the logarithm of their ratio, by a robust estimator."""
    count: int
    """Of the processes, or pairs of them, that it was estimated from."""

    def floor(self, alpha: float, mean_of: int = 1) -> float:
        """Return the ratio that two measurements of the same exceed with a chance of ``alpha``, either way;
        ``mean_of`` says how many pairs of processes theirs is the mean of. Infinite for too few processes."""
        if self.count < FEWEST:
            return math.inf
        from scipy import stats

        times = float(stats.t.ppf(1 - alpha / 2, self.count - 1))
        return math.exp(min(700.0, times * self.sigma / math.sqrt(mean_of)))


class Calibration(_Frozen):
    """All sessions on one machine, the oldest first."""

    version: int = 1
    machine: dict[str, AxisValue]
    sessions: tuple[Session, ...] = ()

    def of(self, suite: str, version: int) -> tuple[Session, ...]:
        """Return the sessions on a suite that say something of each other: those at the commit of the newest,
        or the newest alone where that had changes."""
        fitting = [each for each in self.sessions if (each.suite, each.suite_version) == (suite, version)]
        if not fitting:
            return ()
        newest = fitting[-1]
        if newest.commit is None or newest.dirty:
            return (newest,)
        return tuple(each for each in fitting if each.commit == newest.commit and not each.dirty)


def machine_of(fields: Mapping[str, AxisValue]) -> dict[str, AxisValue]:
    """Return what two runs must agree in to be of one machine, of the fields of an environment."""
    names = [matter.field for matter in COMPARABILITY if matter.field.startswith(_HARDWARE)]
    return {name: fields[name] for name in names if fields.get(name) is not None}


def default_folder() -> Path:
    """Return where calibrations are kept: in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache, "autogaze", "calibrations")


def read_calibration(fields: Mapping[str, AxisValue], folder: Path | None = None) -> Calibration:
    """Return what is known of the machine of an environment; no sessions where it was never calibrated.

    Raises ``InputError`` for a file that cannot be read.
    """
    machine = machine_of(fields)
    path = _path(machine, folder)
    try:
        return Calibration.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Calibration(machine=machine)
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InputError(
            f"calibration {path} cannot be read ({str(error).splitlines()[0]}): delete it and calibrate again"
        ) from error


def add_session(fields: Mapping[str, AxisValue], session: Session, folder: Path | None = None) -> Path:
    """Add a session to those of the machine; return the file. Raises as :func:`read_calibration` does, and
    ``InputError`` where it cannot be written."""
    before = read_calibration(fields, folder)
    after = before.model_copy(update={"sessions": (*before.sessions, session)})
    path = _path(before.machine, folder)
    try:
        write_text(path, after.model_dump_json(indent=1))
    except OSError as error:
        raise InputError(
            f"calibration {path} cannot be written ({error.strerror}): name another folder in XDG_CACHE_HOME"
        ) from error
    return path


def _path(machine: Mapping[str, AxisValue], folder: Path | None) -> Path:
    text = json.dumps(machine, sort_keys=True)
    words = f"{machine.get('device.name', 'device')} {machine.get('cpu.model', '')}"
    slug = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")[:60]
    return (folder or default_folder()) / f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"


def spread_between_runs(sessions: Sequence[Session], cell: str, stage: str) -> Spread | None:
    """Return how far two runs of one tree lie apart; None where no session has the stage."""
    medians = [list(map(math.log, noise.medians)) for noise in _noises(sessions, cell, stage)]
    distances = [abs(a - b) for each in medians for a, b in combinations(each, 2)]
    if not distances:
        return None
    within = statistics.median(distances) / _NORMAL
    centres = [statistics.median(each) for each in medians]
    between = 2 * statistics.variance(centres) if len(centres) > 1 else 0.0
    return Spread(math.sqrt(within**2 + between), sum(map(len, medians)))


def spread_in_turns(sessions: Sequence[Session], cell: str, stage: str) -> Spread | None:
    """Return how far from 1 the ratio of two processes in turns lies; None where no session has the stage."""
    distances = [abs(math.log(r)) for noise in _noises(sessions, cell, stage) for r in noise.ratios]
    return Spread(statistics.median(distances) / _NORMAL, len(distances)) if distances else None


def floors_in_turns(sessions: Sequence[Session], cell: str) -> dict[str, Spread]:
    """Return the spread in turns of every stage of a cell that was calibrated."""
    stages = dict.fromkeys(stage for session in sessions for stage in session.cells.get(cell, {}))
    found = {stage: spread_in_turns(sessions, cell, stage) for stage in stages}
    return {stage: spread for stage, spread in found.items() if spread is not None}


def noise_sentence(sessions: Sequence[Session], alpha: float) -> str | None:
    """Say by how much two runs differ here, for reports; None without a session."""
    stages = {(key, stage) for session in sessions for key, of in session.cells.items() for stage in of}
    spreads = [spread_between_runs(sessions, key, stage) for key, stage in sorted(stages)]
    floors = [spread.floor(alpha) - 1 for spread in spreads if spread is not None]
    if not floors:
        return None
    return (
        f"two runs of one tree differ by up to {min(floors):.1%} to {max(floors):.1%}, by cell and stage; "
        f"calibrated {sessions[-1]}"
    )


def _noises(sessions: Sequence[Session], cell: str, stage: str) -> list[StageNoise]:
    found = (session.cells.get(cell, {}).get(stage) for session in sessions)
    return [noise for noise in found if noise is not None and noise.medians]
