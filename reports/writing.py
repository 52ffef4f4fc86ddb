"""Writing reports into folders, from records alone; pages are renamed into place when they are whole."""

from collections.abc import Sequence
from pathlib import Path

from autogaze.errors import InputError
from autogaze.files import replacing, write_text
from reports.csv_files import write_csv_files
from reports.evaluation import WORKLOAD
from reports.evaluation_files import write_evaluation
from reports.html import to_html
from reports.markdown import to_markdown
from reports.naming import varying_axes
from reports.plots import write_plots
from reports.results import CellResult, load_results
from reports.sections import document

EVALUATION_FOLDER = "evaluation"
"""Where in a run's folder the published evaluator's files lie."""


def write_all(folder: Path) -> list[Path]:
    """Write the report of the run in ``folder`` into it; return the files.

    These are ``report.md``, ``report.html`` (self-contained), ``cells.csv``, ``stages.csv``, ``frames.csv``
    and ``plots/*.png``; of the suite ``evaluate`` also ``evaluation/``, the published evaluator's files.
    Raises ``InputError`` for a folder that is no run, or that cannot be written.
    """
    results = load_results([folder])
    written = _write(results, folder)
    evaluated = [result for result in results if result.cell.workload == WORKLOAD]
    return written + (_write_evaluations(evaluated, folder) if evaluated else [])


def write_comparable(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write one report over several runs, machines and devices into ``out``; return the files.

    Every cell of every run is a row; the first column names its device. Raises ``InputError`` as
    :func:`write_all` does, and where no run is named.
    """
    if not folders:
        raise InputError("no run to report on was named: name run folders under results/, such as RUNS='a b'")
    unique = list({folder.resolve(): folder for folder in folders}.values())
    return _write(load_results(unique), out)


def _write_evaluations(results: Sequence[CellResult], run: Path) -> list[Path]:
    """Write the published evaluator's files into the run's folder: into folders of their own where the clips
    were evaluated in several ways."""
    out = run / EVALUATION_FOLDER
    ways: dict[str, list[CellResult]] = {}
    varying = [name for name in varying_axes(results) if name not in ("clip", "setting")]
    for result in results:
        ways.setdefault("_".join(str(result.axis(name)) for name in varying), []).append(result)
    with replacing(out) as beside:
        written = [path for way, cells in ways.items() for path in write_evaluation(cells, run, beside / way)]
    return [out / path.relative_to(beside) for path in written]


def _write(results: Sequence[CellResult], out: Path) -> list[Path]:
    if not results:
        raise InputError(
            "there is nothing to report on: the runs named plan no cell; name one that measured something"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        plots, pictures = write_plots(results, out)
        content = document(results, pictures)
        pages = {"report.md": to_markdown(content), "report.html": to_html(content, out)}
        for name, page in pages.items():
            write_text(out / name, page)
        return [*(out / name for name in pages), *write_csv_files(results, out), *plots]
    except OSError as error:
        raise InputError(
            f"report folder {out} cannot be written ({error.strerror}): name one that can with OUT="
        ) from error
