"""Compile check: every launch of every operation for every GPU, held against a table of what each may take.

``python -m kernels.compile_check`` compiles with the triton that is imported and needs no GPU. A launch that
spills more registers or takes more shared memory than its row of ``compiled.csv`` allows fails, as does one
without a row; ``--write`` makes the rows of this triton anew. A triton without any rows is held to no spills
at all. The exit code is 1 if anything fails.
"""

import argparse
import csv
import itertools
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass, fields
from pathlib import Path

TABLE = Path(__file__).with_name("compiled.csv")
DTYPES = ("float32", "bfloat16")
"""float16 compiles to what bfloat16 does, with another conversion."""


@dataclass(frozen=True)
class Row:
    """A launch, and what it takes of a multiprocessor. What names the launch comes first."""

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

    @property
    def launch(self) -> tuple[str, ...]:
        return self.triton, self.target, self.kernel, self.dtype, self.case

    def __str__(self) -> str:
        return (
            f"{self.target:6} {self.dtype:8} {self.kernel:27} {self.shared:6} B shared {self.registers:4} "
            f"registers {self.spilled:4} B spilled  {self.case}"
        )


def read_table(path: Path = TABLE) -> list[Row]:
    """Return the rows of a table; none where there is no file."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [Row(**{**row, **{n: int(row[n]) for n in _NUMBERS}}) for row in csv.DictReader(file)]


def write_table(rows: Sequence[Row], path: Path = TABLE) -> None:
    """Write rows, sorted by what they name."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(field.name for field in fields(Row))
        writer.writerows(astuple(row) for row in sorted(rows, key=lambda row: row.launch))


_NUMBERS = ("shared", "registers", "spilled")


def complaint(found: Row, allowed: Row | None, shared_bytes: int) -> str | None:
    """Say why a launch does not pass; None where it does.

    ``allowed`` is its row in the table, None where the table knows nothing of this triton; ``shared_bytes``
    is what a block of the device has.
    """
    if found.shared > shared_bytes:
        return f"the device has {shared_bytes} B of shared memory"
    if found.spilled > (allowed.spilled if allowed else 0):
        return f"{allowed.spilled if allowed else 0} B may be spilled"
    if allowed and found.shared > allowed.shared:
        return f"{allowed.shared} B of shared memory are allowed"
    return None


def complaints(found: Sequence[Row], table: Sequence[Row], shared_bytes: dict[str, int]) -> dict[Row, str]:
    """Return why launches do not pass, and which rows of the table name no launch; ``shared_bytes`` is what a
    block has on each target."""
    versions = {row.triton for row in found}
    allowed = {row.launch: row for row in table if row.triton in versions}
    made = {row.launch for row in found}
    result = {row: "no launch is like this any more" for row in allowed.values() if row.launch not in made}
    for row in found:
        if allowed and row.launch not in allowed:
            result[row] = "not in the table; --write adds it"
        elif why := complaint(row, allowed.get(row.launch), shared_bytes[row.target]):
            result[row] = why
    return result


def compile_all(operation: str, dtype: str, gpu: int) -> list[Row]:
    """Compile the launches of an operation for the ``gpu``-th GPU; those that are alike once."""
    import torch
    import triton

    from kernels.compilation import Launch, compile_launch, launches
    from kernels.gpus import GPUS
    from kernels.registry import OPERATIONS

    shapes = OPERATIONS[operation].compiled_shapes
    varying = [
        name
        for name in dict.fromkeys(itertools.chain(*shapes))
        if len({shape.get(name) for shape in shapes}) > 1
    ]
    known: list[Launch] = []
    rows = []
    for shape in shapes:
        case = " ".join(f"{name}={shape[name]}" for name in varying if name in shape)
        for launch in launches(OPERATIONS[operation], shape, getattr(torch, dtype), GPUS[gpu]):
            if any(launch.same_as(other) for other in known):
                continue
            known.append(launch)
            taken = compile_launch(launch, GPUS[gpu])
            target = f"sm_{GPUS[gpu].capability}"
            numbers = (taken.shared, taken.registers, taken.spilled)
            rows.append(Row(triton.__version__, target, launch.name, dtype, case, *numbers))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="kernels.compile_check", description=__doc__)
    parser.add_argument("--write", action="store_true", help="make the table's rows of this triton anew")
    write = parser.parse_args(arguments).write
    from kernels import OPERATION_NAMES
    from kernels.gpus import GPUS

    tasks = itertools.product(OPERATION_NAMES, DTYPES, range(len(GPUS)))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawn) as workers:
        found = [row for rows in workers.map(compile_all, *zip(*tasks, strict=True)) for row in rows]
    version = found[0].triton
    table = read_table()
    if write:
        table = [row for row in table if row.triton != version] + found
        write_table(table)
    failures = complaints(found, table, {f"sm_{gpu.capability}": gpu.shared_bytes for gpu in GPUS})
    for row in found:
        if row not in failures:
            print(f"ok   {row}")
    for row, why in failures.items():
        print(f"FAIL {row}: {why}")
    verdict = f"{len(failures)} fail" if failures else "every launch fits"
    print(f"triton {version}, {len(GPUS)} GPUs, {len(found)} launches: {verdict}")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
