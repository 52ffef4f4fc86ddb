"""Sections of a report, in order, over one run or several."""

import shlex
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from bench.environment import COMPARABILITY, device_model
from bench.records import WHOLE, AxisValue, Run
from reports import selectors
from reports.columns import MARK
from reports.document import (
    Block,
    Bullets,
    Column,
    Document,
    Heading,
    Paragraph,
    Section,
    Table,
    notes,
    tabulate,
)
from reports.naming import axes_text, constant_axes, merged, which
from reports.published import H100, RTX_3090, RTX_3090_CAVEAT
from reports.results import EAGER, CellResult
from reports.summaries import VIDEO_WORKLOADS, Group, groups, remarks
from reports.tables import (
    outside_table,
    published_table,
    quality_table,
    stage_table,
    summary_table,
    work_table,
)
from reports.units import text

Fact = tuple[str, AxisValue]

READING: tuple[tuple[frozenset[str], str], ...] = (
    (
        frozenset(),
        "Every cell ran in a process of its own; only those of the workload evaluate share one, which loads "
        "the models once. Set-up and warm-up are outside the timed repetitions; they have a table of their "
        "own.",
    ),
    (
        frozenset(),
        "Times are medians of the timed repetitions; p5 and p95 are the 5th and 95th percentile. Top-level "
        "stages are wall-clock time, synchronised with the device; nested stages, with a dot in their name, "
        "are device events where the device has them, and lie inside their parent.",
    ),
    (
        frozenset({"kept"}),
        "A clip is one chunk of frames that the model sees at once. A time per clip or per frame is the time "
        "of a repetition divided by the clips or frames it processed.",
    ),
    (frozenset(), "End to end is the whole repetition and holds all other stages."),
    (frozenset({"kept"}), "Kept is the share of candidate patches that were chosen."),
    (frozenset({"gazes"}), "Gazes are the chosen patches of a clip, padding not counted."),
    (
        frozenset({"speed_up"}),
        "Speed-up is the ratio of the medians of two cells of one run that differ in that axis alone; it is "
        "empty where the other cell is not ok, or not planned.",
    ),
    (
        frozenset({"bandwidth", "compute"}),
        "Traffic is the least number of bytes that must be read and written, compute the floating-point "
        "operations that the result needs: both are counted from shapes, so a form that does more than it "
        "must is slower by these figures, not faster.",
    ),
    (
        frozenset({"launches"}),
        "A launch is one thing that the host hands to the device: a captured graph counts once. A "
        "synchronisation is one wait of the host for the device; those of the eager engine are not counted.",
    ),
    (
        frozenset({"agreement"}),
        "Agreement is taken on the outputs of the timed repetitions: for each frame, the patches chosen by "
        f"both the cell and {EAGER} in float32, over the larger of the two choices. One early difference "
        "changes everything a frame sees later, so that a small share says little about a wrong engine in "
        "half precision; in float32 anything below 100 % is a fault.",
    ),
    (
        frozenset({"over_ours"}),
        "Over ours is the time that a peer took to choose patches over the time that our engine took, on the "
        "same video and weights and in turns within one cell: the median over pairs, with its 95 % bootstrap "
        "interval. What slows the machine for a while slows both. The peer's time is taken in its own "
        "process, around its call; where it computes attention in half precision, agreement may be below "
        "100 %.",
    ),
    (
        frozenset({"memory"}),
        "Peak memory is what the allocator of the device held at most; on a CPU, the resident set, which "
        "holds the libraries too.",
    ),
    (
        frozenset({"psnr"}),
        "PSNR, SSIM, loss, MAE and MSE come from the outputs of the timed repetitions: means over frames of "
        "the un-normalised pictures in [0, 1].",
    ),
    (
        frozenset(),
        "A cell whose status is not ok stays a row. Invalid means measured, but not to be trusted.",
    ),
)
"""How to read a report: each sentence with the columns that it is about, none where it always holds."""


def document(results: Sequence[CellResult], pictures: Sequence[Block] = ()) -> Document:
    """Return the report over one run or several; ``pictures`` are the plots or what stands for them."""
    runs = runs_of(results)
    labels = {result.run.id: result.label for result in results}
    parts = groups(results)
    sections = [
        Section("What was measured", (*_disturbances(results), facts_table(header_facts(results))))
        if len(runs) == 1
        else Section(
            "What was measured", (*_disturbances(results), runs_table(results), *_differences(runs, labels))
        ),
        Section("Caveats", (Bullets(tuple(caveats(results))),)),
        Section("Summary", (*_summaries(parts), *_unsuccessful(results))),
        Section("Selectors compared", tuple(selectors.blocks(results))),
        Section("Plots", tuple(pictures)),
        Section(
            "Stages",
            (
                *_by_group(parts, stage_table),
                Paragraph("Outside the timed repetitions:"),
                outside_table(results),
            ),
        ),
        Section("Work", _by_group(parts, work_table)),
        Section("Quality", _by_group([part for part in parts if _has_pictures(part)], quality_table)),
        Section("Published elsewhere", _published(results)),
        Section("How to read this", (Bullets(tuple(reading(parts))),)),
        Section("Environment", (environment_table(runs, labels),)),
    ]
    what = (
        f"suite {runs[0].suite} on {device_model(runs[0])}"
        if len(runs) == 1
        else f"{len(runs)} runs side by side"
    )
    return Document(
        f"AutoGaze benchmark: {what}", tuple(section for section in sections if _says_something(section))
    )


def _disturbances(results: Sequence[CellResult]) -> list[Block]:
    """Say first of all that other programs were busy, where they were."""
    cells = [result for result in results if result.disturbed]
    if not cells:
        return []
    shares = sorted(result.others for result in cells)
    span = (
        f"{shares[0]:.0%}"
        if f"{shares[0]:.0%}" == f"{shares[-1]:.0%}"
        else f"{shares[0]:.0%} to {shares[-1]:.0%}"
    )
    return [
        Paragraph(
            f"Other programs used {span} of the CPUs during {len(cells)} of {len(results)} cells: times and "
            f"ratios of these are marked {MARK} and say less."
        )
    ]


def _says_something(section: Section) -> bool:
    return any(not isinstance(block, Bullets) or block.items for block in section.blocks)


def _titled(part: Group, parts: Sequence[Group], blocks: Iterable[Block]) -> list[Block]:
    """Return what there is to say of a group, under its title where there are several."""
    return [*([Heading(part.title)] if len(parts) > 1 else []), *blocks]


def _by_group(parts: Sequence[Group], table: Callable[[Group], Table]) -> tuple[Block, ...]:
    return tuple(block for part in parts for block in _titled(part, parts, [table(part)]))


def _summaries(parts: Sequence[Group]) -> tuple[Block, ...]:
    """Return the summary of each group; what is to be known about the columns follows the last of a view."""
    blocks: list[Block] = []
    for _, alike in groupby(parts, key=lambda part: part.view):
        tables = []
        for part in alike:
            tables.append(summary_table(part))
            said = tuple(remarks(part))
            blocks += _titled(part, parts, [tables[-1], *([Bullets(said)] if said else [])])
        known = notes(tables)
        blocks += [Paragraph(f"{known[0].upper()}{known[1:]}.")] if known else []
    return tuple(blocks)


def _has_pictures(group: Group) -> bool:
    return any(result.quality("psnr") is not None for result in group.results)


def reading(parts: Iterable[Group]) -> list[str]:
    """Return how to read the summaries of these groups: nothing about columns that they do not show."""
    shown = {column.key for part in parts for column in summary_table(part).columns}
    return [sentence for keys, sentence in READING if not keys or keys & shown]


def runs_of(results: Iterable[CellResult]) -> list[Run]:
    """Return the runs that the results are of."""
    return list({result.run.id: result.run for result in results}.values())


def header_facts(results: Sequence[CellResult]) -> list[Fact]:
    """Return what is the same for every cell of one run: device, versions, input, axes that do not vary."""
    run = results[0].run
    fields = run.environment.fields
    of_clips = any(group.view.unit == "clip" for group in groups(results))
    facts: list[Fact] = [
        ("run", run.id),
        ("created", run.created),
        ("command", pasted(run.command)),
        ("device", device_model(run)),
        ("threads", fields.get("cpu.threads")),
        ("torch", fields.get("torch.version")),
        ("video", (run.settings.get("video") or "embedded clip") if of_clips else None),
        ("checkpoint", (run.settings.get("checkpoint") or "embedded weights") if of_clips else None),
        ("every cell", axes_text(constant_axes(results))),
        ("noise floor", run.settings.get("noise_floor")),
    ]
    return [fact for fact in facts if fact[1] not in (None, "")]


def pasted(command: Sequence[str]) -> str:
    """Return a command as a shell takes it, quoted where it must be."""
    program, *arguments = command or ("",)
    # Runs of before recorded the file that ``python -m bench`` ran.
    words = ["python", "-m", "bench"] if program.endswith("bench/__main__.py") else [program]
    # Quotes go around a variable's value, as people put them.
    return " ".join(_quoted(word) for word in (*words, *arguments))


def _quoted(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name}={shlex.quote(value)}" if equals and name.isidentifier() else shlex.quote(word)


def facts_table(facts: Iterable[Fact]) -> Table:
    """Return names and values as a table."""
    return tabulate(
        [
            Column("name", "what", lambda fact: fact[0], numeric=False),
            Column("value", "value", lambda fact: text(fact[1]), numeric=False),
        ],
        facts,
    )


def runs_table(results: Sequence[CellResult]) -> Table:
    """Return a row for each run: what it is called here, and what became of its cells."""

    def count(run: Run) -> str:
        mine = [result for result in results if result.run.id == run.id]
        return f"{sum(result.ok for result in mine)} of {len(mine)}"

    labels = {result.run.id: result.label for result in results}
    columns: list[Column[Run]] = [
        Column("label", "device", lambda run: labels[run.id], numeric=False),
        Column("run", "run", lambda run: run.id, numeric=False),
        Column("suite", "suite", lambda run: f"{run.suite}, version {run.suite_version}", numeric=False),
        Column("created", "created", lambda run: run.created, numeric=False),
        Column("video", "video", lambda run: run.settings.get("video") or "embedded clip", numeric=False),
        Column(
            "checkpoint",
            "checkpoint",
            lambda run: run.settings.get("checkpoint") or "embedded",
            numeric=False,
        ),
        Column("ok", "cells ok", count),
    ]
    return tabulate(columns, runs_of(results))


def _differences(runs: Sequence[Run], labels: dict[str, str]) -> list[Block]:
    facts = {name: values for name, values in _facts(runs).items() if len(set(values)) > 1}
    if not facts:
        return [Paragraph("The runs differ in nothing that the environment records.")]
    matters = {matter.field for matter in COMPARABILITY}
    lead = Paragraph(
        "The runs differ in these fields; where one is said to matter, times are not to be compared directly."
    )
    rows = [(name, "yes" if name in matters else "no", *values) for name, values in facts.items()]
    columns = [
        Column("field", "field", lambda row: row[0], numeric=False),
        Column("matters", "matters", lambda row: row[1], numeric=False),
        *_run_columns(runs, labels, skip=2),
    ]
    return [lead, tabulate(columns, rows)]


def _run_columns(runs: Sequence[Run], labels: dict[str, str], skip: int) -> list[Column[tuple[str, ...]]]:
    def column(place: int, run: Run) -> Column[tuple[str, ...]]:
        return Column(run.id, labels[run.id], lambda row: row[place], numeric=False)

    return [column(skip + i, run) for i, run in enumerate(runs)]


def _facts(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return environment fields and settings of all runs by name, a value for each run."""
    held = [{**run.environment.fields, **run.settings} for run in runs]
    names = dict.fromkeys(name for facts in held for name in facts)
    return {name: [text(facts.get(name)) for facts in held] for name in names}


def environment_table(runs: Sequence[Run], labels: dict[str, str]) -> Table:
    """Return every environment field and setting, a column for each run."""
    rows = [(name, *values) for name, values in _facts(runs).items()]
    return tabulate(
        [Column("field", "field", lambda row: row[0], numeric=False), *_run_columns(runs, labels, skip=1)],
        rows,
    )


def caveats(results: Sequence[CellResult]) -> list[str]:
    """Return the notes of all cells and the warnings about samples: like ones once, with their cells."""
    said = []
    for result in results:
        whole = result.stages.get(WHOLE)
        said += [(note, result) for note in (*result.notes, *(whole.warnings if whole else ()))]
    measured = sum(result.record is not None for result in results)
    return [
        f"{note} ({'all measured cells' if len(cells) == measured > 1 else which(cells, results)})"
        for note, cells in merged(said)
    ]


def unsuccessful(results: Sequence[CellResult]) -> list[str]:
    """Return which cells are not ok, what became of them, and why: a sentence for those of like reason."""
    return [
        f"{which(cells, results)}: {outcome}"
        for outcome, cells in merged((_outcome(result), result) for result in results if not result.ok)
    ]


def _outcome(result: CellResult) -> str:
    return result.status.replace("_", " ") + (f" ({result.reason})" if result.reason else "")


def _unsuccessful(results: Sequence[CellResult]) -> list[Block]:
    sentences = unsuccessful(results)
    return [Paragraph("Cells that did not succeed:"), Bullets(tuple(sentences))] if sentences else []


def _published(results: Sequence[CellResult]) -> tuple[Block, ...]:
    if not any(result.cell.workload in VIDEO_WORKLOADS for result in results):
        return ()
    table = published_table(results)
    if not table.rows:
        return (Paragraph("No cell has a setting and chunk size for which figures were published."),)
    caveat = (
        "Ours are of this machine, these weights and this video; theirs are of other ones. They show what to "
        "expect; they are no baseline."
    )
    return (Paragraph(caveat), table, Bullets((f"H100 — {H100}", f"RTX 3090 — {RTX_3090}", RTX_3090_CAVEAT)))
