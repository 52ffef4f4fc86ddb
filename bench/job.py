"""Job: the message from the parent to a measuring process, and its answer.

A job goes down as a line of JSON, and so do events come up: samples as they are taken, so that those before a
crash are kept, and at the end the record.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict

from bench.records import AxisValue, Cell, Record, Sample
from bench.survey import Answer

TURN = "turn"


class Job(BaseModel):
    """One cell to measure."""

    # The default of no timeout must survive the way down, and JSON has no number for it.
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    cell: Cell
    target: str
    """The workload, ``module:class``."""
    inputs: dict[str, AxisValue]
    """Fields of :class:`suites.workload.Inputs`."""
    pci_id: str | None = None
    """The GPU's place on the bus, for its sensors; None on a CPU."""
    min_samples: int
    time_budget_seconds: float
    timeout_seconds: float = math.inf
    """When it is given up, counted from the start of its process."""
    in_turns: bool = False
    """Whether each timed repetition waits for a line, :data:`TURN`, in place of the budgets; another line
    ends them."""
    folder: str | None = None
    """The run's folder, for arrays that the workload has kept; None to keep none."""
    profiled: bool = False
    """Whether one more repetition, which is not timed, is watched by torch's profiler; its trace goes into
    the folder."""

    def line(self) -> str:
        """Return the job as it is sent. Defaults go without saying: the process may be of an older tree."""
        return self.model_dump_json(exclude_defaults=True)


class Event(BaseModel):
    """One line from the measuring process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["phase", "samples", "turn", "record", "answer"]
    """``turn`` says that the process of a job in turns waits for the next."""
    phase: str = ""
    """What it is doing now: ``setup``, ``warm-up``, ``sample 3``."""
    samples: tuple[Sample, ...] = ()
    record: Record | None = None
    answer: Answer | None = None
