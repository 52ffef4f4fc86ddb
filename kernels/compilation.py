"""Compile check: every launch of every operation for every GPU, held against a table of what each may take.

``python -m kernels.compilation`` compiles with the triton that is imported and needs no GPU. A launch fails
that spills more registers or takes more shared memory than its row of ``compiled.csv`` allows, that is not
in the table, or that wants more shared memory than its device has. ``--write`` makes the rows of this triton
anew; a row that spills fails until its last column says why that is accepted. A triton that the table does
not know is held to no spills and to the device's memory. Bytes are counted by :mod:`kernels.traffic`.
"""

import argparse
import csv
import itertools
import math
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kernels import OPERATION_NAMES

if TYPE_CHECKING:
    from kernels.operation import Shape

TABLE = Path(__file__).with_name("compiled.csv")
DTYPES = ("float32", "bfloat16")
"""float16 compiles to what bfloat16 does, with another conversion."""


@dataclass(frozen=True)
class Row:
    """A launch, and what it takes. What names the launch comes first."""

    triton: str
    target: str
    """``sm_90``."""
    kernel: str
    dtype: str
    case: str
    """Sizes that the operation's compiled shapes differ in."""
    shared: int
    """Bytes of shared memory of a block."""
    registers: int
    """Registers of a thread."""
    spilled: int
    """Bytes of registers of a thread that are spilled to its stack."""
    instructions: int
    """Length of the compiled code; loops count once."""
    programs: int
    """Programs of the grid."""
    bytes: int
    """What all programs together load and store; 0 where that was not counted."""
    why: str = ""
    """Why spills are accepted."""

    @property
    def launch(self) -> tuple[str, ...]:
        return self.triton, self.target, self.kernel, self.dtype, self.case

    @property
    def capability(self) -> int:
        return int(self.target.removeprefix("sm_"))

    def __str__(self) -> str:
        return (
            f"{self.target:6} {self.dtype:8} {self.kernel:30} {self.shared:6} B shared {self.registers:4} "
            f"registers {self.spilled:4} B spilled {self.instructions:6} instructions "
            f"{self.programs:4} programs {self.bytes:9} B moved  {self.case}"
        )


_TYPES: dict[str, Any] = {field.name: field.type for field in fields(Row)}


def read_table(path: Path = TABLE) -> list[Row]:
    """Return the rows of a table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(*(_TYPES[name](value) for name, value in row.items())) for row in csv.DictReader(file)]


def write_table(rows: Sequence[Row], path: Path = TABLE) -> None:
    """Write rows, sorted by what they name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        writer.writerows(astuple(row) for row in sorted(rows, key=lambda row: row.launch))


def renewed(table: Sequence[Row], found: Sequence[Row], dtypes: Sequence[str]) -> list[Row]:
    """Return a table with the rows of one triton and ``dtypes`` made anew; reasons for spills that have not
    grown are kept."""
    before = {row.launch: row for row in table}
    version = found[0].triton
    kept = [row for row in table if row.triton != version or row.dtype not in dtypes]
    for row in found:
        old = before.get(row.launch)
        kept.append(replace(row, why=old.why if old and 0 < row.spilled <= old.spilled else ""))
    return kept


def complaint(found: Row, allowed: Row | None, shared_bytes: int) -> str | None:
    """Say why a launch does not pass; None where it does.

    ``allowed`` is its row in the table, None where the table knows nothing of this triton; ``shared_bytes``
    is what a block of the device has.
    """
    if found.shared > shared_bytes:
        return f"the device has {shared_bytes} B of shared memory"
    if found.spilled > (allowed.spilled if allowed else 0):
        return f"{allowed.spilled if allowed else 0} B may be spilled"
    if allowed and found.spilled and not allowed.why:
        return "the table does not say why that spill is accepted"
    if allowed and found.shared > allowed.shared:
        return f"{allowed.shared} B of shared memory are allowed"
    return None


def complaints(
    found: Sequence[Row],
    table: Sequence[Row],
    shared_bytes: Mapping[str, int],
    dtypes: Sequence[str] = DTYPES,
) -> dict[Row, str]:
    """Return why launches of ``dtypes`` do not pass, and which rows of the table name no launch;
    ``shared_bytes`` is what a block has on each target."""
    versions = {row.triton for row in found}
    allowed = {row.launch: row for row in table if row.triton in versions and row.dtype in dtypes}
    made = {row.launch for row in found}
    result = {row: "no launch is like this any more" for row in allowed.values() if row.launch not in made}
    for row in found:
        if allowed and row.launch not in allowed:
            result[row] = "not in the table; --write adds it"
        elif why := complaint(row, allowed.get(row.launch), shared_bytes[row.target]):
            result[row] = why
    return result


def _cases(operation: str) -> dict[str, "Shape"]:
    """Return an operation's compiled shapes by what tells each from the others."""
    from kernels.registry import OPERATIONS

    shapes = OPERATIONS[operation].compiled_shapes
    names = dict.fromkeys(itertools.chain(*shapes))
    varying = [name for name in names if len({shape.get(name) for shape in shapes}) > 1]
    return {" ".join(f"{name}={shape[name]}" for name in varying if name in shape): shape for shape in shapes}


def compile_all(operation: str, dtype: str, gpu: int) -> list[Row]:
    """Compile the launches of an operation for the ``gpu``-th GPU, those that are alike once; bytes are not
    counted yet."""
    import torch
    import triton

    from kernels.gpus import GPUS
    from kernels.launches import Launch, compile_launch, launches
    from kernels.registry import OPERATIONS

    known: list[Launch] = []
    rows = []
    for case, shape in _cases(operation).items():
        for launch in launches(OPERATIONS[operation], shape, getattr(torch, dtype), GPUS[gpu]):
            if any(launch.same_as(other) for other in known):
                continue
            known.append(launch)
            taken = vars(compile_launch(launch, GPUS[gpu]))
            target, programs = f"sm_{GPUS[gpu].capability}", math.prod(launch.grid)
            named = (triton.__version__, target, launch.name, dtype, case)
            rows.append(Row(*named, **taken, programs=programs, bytes=0))
    return rows


def count_all(operation: str, dtype: str, rows: Sequence[Row]) -> list[Row]:
    """Return rows of an operation with their bytes counted; for a process under the interpreter."""
    import torch

    from kernels.registry import OPERATIONS
    from kernels.traffic import traffic

    counted: list[Row] = []
    for case, shape in _cases(operation).items():
        of_case = [row for row in rows if row.case == case]
        capabilities = {row.capability for row in of_case}
        moved = traffic(OPERATIONS[operation], shape, getattr(torch, dtype), capabilities) if of_case else {}
        counted += [replace(row, bytes=moved[row.capability][row.kernel]) for row in of_case]
    return counted


@contextmanager
def _workers(interpreted: bool) -> Iterator[ProcessPoolExecutor]:
    """Have one process a core, whose kernels are interpreted or not."""
    before = os.environ.pop("TRITON_INTERPRET", None)
    try:
        if interpreted:
            os.environ["TRITON_INTERPRET"] = "1"
        with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as workers:
            yield workers
    finally:
        os.environ.pop("TRITON_INTERPRET", None)
        if before is not None:
            os.environ["TRITON_INTERPRET"] = before


def compile_everything(dtypes: Sequence[str], *, count: bool) -> list[Row]:
    """Compile all launches of all operations in ``dtypes`` for all GPUs; on ``count``, also add up their
    bytes."""
    from kernels.gpus import GPUS

    each = list(itertools.product(OPERATION_NAMES, dtypes))
    tasks = [(*named, gpu) for named in each for gpu in range(len(GPUS))]
    with _workers(interpreted=False) as workers:
        made = dict(zip(tasks, workers.map(compile_all, *zip(*tasks, strict=True)), strict=True))
    if not count:
        return [row for rows in made.values() for row in rows]
    of_all_gpus = [[row for task, rows in made.items() if task[:2] == one for row in rows] for one in each]
    with _workers(interpreted=True) as workers:
        counted = workers.map(count_all, *zip(*each, strict=True), of_all_gpus)
        return [row for rows in counted for row in rows]


def known_versions(table: Sequence[Row]) -> set[str]:
    """Return the versions of triton that a table has rows of."""
    return {row.triton for row in table}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="kernels.compilation", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the table's rows of this triton anew")
    parser.add_argument("--dtype", choices=DTYPES, help="only launches of this type")
    chosen = parser.parse_args(arguments)
    import triton

    from kernels.gpus import GPUS

    dtypes = (chosen.dtype,) if chosen.dtype else DTYPES
    table = read_table()
    # Bytes are the same under any triton, so one that the table does not know need not count them.
    found = compile_everything(dtypes, count=chosen.write or triton.__version__ in known_versions(table))
    if chosen.write:
        table = renewed(table, found, dtypes)
        write_table(table)
    failures = complaints(found, table, {f"sm_{gpu.capability}": gpu.shared_bytes for gpu in GPUS}, dtypes)
    for row in found:
        if row not in failures:
            print(f"ok   {row}")
    for row, why in failures.items():
        print(f"FAIL {row}: {why}")
    verdict = f"{len(failures)} fail" if failures else "every launch fits"
    print(
        f"triton {found[0].triton}, {len(GPUS)} GPUs, {', '.join(dtypes)}, {len(found)} launches: {verdict}"
    )
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
