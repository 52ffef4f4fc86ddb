"""Results: what a run says about each of its cells, in the terms that tables and plots need.

Times are in seconds. A *repetition* is one call of the workload; per clip and per frame are shares of it.
Wall-clock time is used where a stage is synchronised with the device, that is for top-level stages; a nested
stage's time is between device events where the device has them, since its wall clock would only show how long
launching took.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from bench.journal import read_run
from bench.records import (
    BUSY,
    CPU_OTHERS,
    OURS,
    WHOLE,
    AxisValue,
    Cell,
    FrameQuality,
    Memory,
    Record,
    Run,
    Sample,
    Status,
)
from bench.statistics import Ratio, Summary, ratio_of_pairs, summarise
from reports.units import Value, text

PIPELINE = ("decode", "preprocess", "gaze", "reconstruct", "encode")
"""The top-level stages that a repetition consists of, in order."""
UNTRAINED = "untrained weights"
"""How the note of a cell begins whose quality figures mean nothing."""
MEANINGLESS = " (untrained weights: meaningless)"
"""What the title of a picture of such figures ends with."""
NOT_RUN = "not run"
"""The status of a planned cell that the journal does not hold yet."""
EAGER = "eager"
"""The engine and the attention backend that define what the others must give."""


def _seconds(sample: Sample) -> float:
    if "." in sample.stage and sample.device_seconds is not None:
        return sample.device_seconds
    return sample.seconds


@dataclass(frozen=True)
class CellResult:
    """One planned cell of one run, with its record where there is one."""

    run: Run
    label: str
    """Names the run among those reported: its device, with the run's id where that is not enough."""
    cell: Cell
    record: Record | None

    @property
    def status(self) -> str:
        return self.record.status.value if self.record else NOT_RUN

    @property
    def reason(self) -> str | None:
        """Why there is no result, or why it is not to be trusted."""
        if self.record is None:
            return "the run ended before this cell"
        return self.record.reason

    @property
    def ok(self) -> bool:
        return self.status == Status.OK

    @property
    def others(self) -> float:
        """Share of the CPUs that other programs had while this was timed, 0 to 1; 0 where it is unknown."""
        return self.figure(CPU_OTHERS) or 0.0

    @property
    def disturbed(self) -> bool:
        """Whether that is more than a reader need not be told of."""
        return self.others > BUSY

    @property
    def notes(self) -> tuple[str, ...]:
        return self.record.notes if self.record else ()

    @property
    def untrained(self) -> bool:
        return any(note.startswith(UNTRAINED) for note in self.notes)

    @property
    def frames(self) -> tuple[FrameQuality, ...]:
        return self.record.frames if self.record else ()

    def axis(self, name: str) -> Value:
        """Return the cell's value of an axis; ``workload`` counts as one, and ``clips`` are as many as there
        were of those asked for."""
        if name == "clips" and (clips := self.counter("clips")):
            return round(clips)
        return self.cell.workload if name == "workload" else self.cell.axes.get(name)

    def counter(self, name: str) -> float | None:
        """Return how much of this work one repetition did."""
        return self.record.counters.get(name) if self.record else None

    def quality(self, name: str) -> float | None:
        """Return a mean over frames: loss, mae, mse, psnr, ssim."""
        return self.record.quality.get(name) if self.record else None

    def trained_quality(self, name: str) -> float | None:
        """Return the same, or None where the weights make it meaningless."""
        return None if self.untrained else self.quality(name)

    @property
    def peak_memory(self) -> int | None:
        """Return the peak in bytes: allocated on the device where that is known, else resident."""
        allocated = self.memory.device_allocated_peak
        return self.memory.resident_peak if allocated is None else allocated

    @property
    def memory(self) -> Memory:
        """Every peak that was read."""
        return self.record.memory if self.record else Memory()

    @property
    def process_seconds(self) -> float | None:
        """Return the life of the measuring process, import and warm-up included."""
        return self.record.elapsed_seconds if self.record else None

    @property
    def energy(self) -> float | None:
        """Joules of one repetition."""
        return self.record.energy_joules if self.record else None

    @property
    def patch_hash(self) -> str | None:
        """Names the chosen patches."""
        return self.record.patch_hash if self.record else None

    def detail(self, name: str) -> Any:
        """Return what the workload says of itself under this name: the kernel that ran, an error."""
        return self.record.details.get(name) if self.record else None

    def figure(self, name: str) -> float | None:
        """Return a detail that is a number."""
        value = self.detail(name)
        return float(value) if isinstance(value, int | float) else None

    def per(self, unit: str, value: float | None) -> float | None:
        """Return the share of one ``clip``, ``frame`` or ``call`` in what a repetition took."""
        units = self._calls if unit == "call" else self.counter(f"{unit}s")
        return value / units if value is not None and units else None

    @property
    def _calls(self) -> float:
        """Calls of a repetition: as it counts them, else one for each batch of its clips, else one."""
        calls, clips, batch = self.counter("calls"), self.counter("clips"), self.axis("batch")
        if calls is None and clips and isinstance(batch, int) and batch:
            return clips / batch
        return 1.0 if calls is None else calls

    def rate(self, counter: str) -> float | None:
        """Return how much of some work was done in a second: ``flops``, ``bytes``."""
        work, seconds = self.counter(counter), self.median(WHOLE)
        return work / seconds if work and seconds else None

    @property
    def kept_ratio(self) -> float | None:
        """Selected patches among the candidates."""
        kept, selected, candidates = (
            self.quality("kept_ratio"),
            self.counter("selected_patches"),
            self.counter("candidate_patches"),
        )
        if kept is None and selected is not None and candidates:
            return selected / candidates
        return kept

    @cached_property
    def stages(self) -> dict[str, Summary]:
        """Time of one repetition by stage, warm-up apart, parents before their children."""
        return _summaries((sample.stage, _seconds(sample)) for sample in self._timed)

    @cached_property
    def device_stages(self) -> dict[str, Summary]:
        """The same between device events, for the stages that have them."""
        return _summaries(
            (sample.stage, sample.device_seconds)
            for sample in self._timed
            if sample.device_seconds is not None
        )

    @cached_property
    def over_ours(self) -> Ratio | None:
        """How many times as long a peer took to choose patches as our engine did, in turns with it."""
        theirs, ours = (
            {sample.index: sample.seconds for sample in self._timed if sample.stage == stage}
            for stage in ("gaze", OURS)
        )
        pairs = sorted(theirs.keys() & ours.keys())
        return ratio_of_pairs([ours[i] for i in pairs], [theirs[i] for i in pairs]) if pairs else None

    def first_warmup(self, stage: str) -> float | None:
        """Return the seconds of a stage's first warm-up, which holds compilation and first allocations."""
        samples = self.record.samples if self.record else ()
        return next((sample.seconds for sample in samples if sample.warmup and sample.stage == stage), None)

    @property
    def _timed(self) -> list[Sample]:
        return [sample for sample in (self.record.samples if self.record else ()) if not sample.warmup]

    def median(self, stage: str) -> float | None:
        """Return the median time of a stage, for a repetition."""
        return self.stages[stage].median if stage in self.stages else None

    @cached_property
    def shares_of_whole(self) -> dict[str, float]:
        """Return the part of a repetition that each top-level stage takes, mean over repetitions: unlike
        medians, these add up to the whole."""
        wholes = {sample.index: sample.seconds for sample in self._timed if sample.stage == WHOLE}
        found: dict[str, list[float]] = {}
        for sample in self._timed:
            if "." not in sample.stage and sample.stage not in (WHOLE, OURS) and wholes.get(sample.index):
                found.setdefault(sample.stage, []).append(sample.seconds / wholes[sample.index])
        return {stage: sum(found[stage]) / len(wholes) for stage in sorted(found, key=_stage_order)}

    def share(self, stage: str) -> float | None:
        """Return the part of its parent that a nested stage takes, by medians of the same kind of clock."""
        parent = stage.rpartition(".")[0]
        times = self.device_stages if {stage, parent} <= self.device_stages.keys() else self.stages
        if stage not in times or parent not in times or not times[parent].median:
            return None
        return times[stage].median / times[parent].median


def _summaries(timed: Iterable[tuple[str, float]]) -> dict[str, Summary]:
    ordered = sorted(timed, key=lambda entry: _stage_order(entry[0]))
    return {
        stage: summarise([seconds for _, seconds in entries])
        for stage, entries in groupby(ordered, key=lambda entry: entry[0])
    }


def distinct_stages(stages: Iterable[str]) -> list[str]:
    """Return the stages, without one that is all there is of the whole repetition."""
    named = list(stages)
    return [WHOLE] if len(named) == 2 and WHOLE in named else named


def _stage_order(stage: str) -> tuple[int, str, int, str]:
    top, _, child = stage.partition(".")
    known = ("setup", *PIPELINE)
    children = ("vision", "prefill", "steps", "encode", "decode")
    return (
        len(known) + 1 if top == WHOLE else known.index(top) if top in known else len(known),
        top,
        (children.index(child) if child in children else len(children)) if child else -1,
        child,
    )


def load_results(folders: Sequence[Path]) -> list[CellResult]:
    """Read every planned cell of the runs in ``folders``; like cells of different runs stand together.

    Raises ``InputError`` for a folder that is no run.
    """
    runs = [read_run(folder) for folder in folders]
    labels = run_labels([run for run, _ in runs])
    results = [result for run, records in runs for result in results_of(run, records, labels[run.id])]
    places = {key: place for place, key in enumerate(dict.fromkeys(result.cell.key for result in results))}
    return sorted(results, key=lambda result: places[result.cell.key])


def peer(result: CellResult, results: Iterable[CellResult], **axes: AxisValue) -> CellResult | None:
    """Return the cell that ``result`` is held against, if it is ok: of the same run, and different in these
    axes alone."""
    wanted = result.cell.axes | axes
    return next(
        (
            other
            for other in results
            if other.ok
            and (other.run.id, other.cell.workload) == (result.run.id, result.cell.workload)
            and other.cell.axes == wanted
        ),
        None,
    )


def results_of(run: Run, records: Iterable[Record], label: str) -> list[CellResult]:
    """Return one result for each planned cell, and for each recorded one that the plan does not name."""
    by_key = {record.cell.key: record for record in records}
    planned = {cell.key: cell for cell in run.cells} | {key: record.cell for key, record in by_key.items()}
    return [CellResult(run, label, cell, by_key.get(key)) for key, cell in planned.items()]


def device_name(run: Run) -> str:
    """Return the device that the run measured."""
    return text(run.environment.fields.get("device.name") or "unknown device")


def run_labels(runs: Sequence[Run]) -> dict[str, str]:
    """Return a short name for each run: its device, and its id too where another run has the same device."""
    devices = [device_name(run) for run in runs]
    return {
        run.id: device if devices.count(device) == 1 else f"{device} ({run.id})"
        for run, device in zip(runs, devices)
    }
