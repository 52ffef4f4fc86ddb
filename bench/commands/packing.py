"""Packing: what a check has left behind, put into a few files that are easily carried away.

``summary.txt``, ``contact.jsonl`` and ``variants.jsonl`` as they are; ``logs.txt``, all logs under their
names; ``report.html``, and ``report.tar.gz`` with all of the report; ``runs.tar.gz`` with the runs, which
``make report`` reads once unpacked; ``traces.tar.gz``, each for https://ui.perfetto.dev.
"""

import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from autogaze.files import replacing
from bench import journal

MOST_FILES = 8
REPORT, TRACES = "report", "traces"
"""Folders of a check."""
_AS_THEY_ARE = ("summary.txt", "*.jsonl")
_LAST_BYTES = 1 << 20
"""Of a log, that are kept."""


def pack(work: Path, out: Path) -> tuple[Path, ...]:
    """Put what lies in ``work`` into files in ``out``, and remove ``work``; return the files.

    What a kill has left half written in ``work`` is packed as it is.
    """
    for pattern in _AS_THEY_ARE:
        for path in sorted(work.glob(pattern)):
            shutil.copyfile(path, out / path.name)
    _join(sorted(work.glob("*.log"), key=lambda path: path.stat().st_mtime), out / "logs.txt")
    if (work / REPORT / "report.html").is_file():
        shutil.copyfile(work / REPORT / "report.html", out / "report.html")
    runs = [head.parent for head in sorted(work.glob(f"*/{journal.RUN_FILE}"))]
    for name, folders in (("runs", runs), ("report", [work / REPORT]), ("traces", [work / TRACES])):
        _archive([folder for folder in folders if folder.is_dir()], out / f"{name}.tar.gz")
    shutil.rmtree(work)
    return tuple(sorted(path for path in out.iterdir() if path.is_file()))


def _join(logs: Sequence[Path], out: Path) -> None:
    """Write the logs one under another, of a long one the end."""
    if not logs:
        return
    with replacing(out) as beside, beside.open("wb") as file:
        for log in logs:
            content = log.read_bytes()
            cut = b"[...]\n" if len(content) > _LAST_BYTES else b""
            file.write(f"== {log.stem}\n".encode() + cut + content[-_LAST_BYTES:].rstrip() + b"\n\n")


def _archive(folders: Sequence[Path], out: Path) -> None:
    if not folders:
        return
    with replacing(out) as beside, tarfile.open(beside, "w:gz") as archive:
        for folder in folders:
            archive.add(folder, folder.name)
