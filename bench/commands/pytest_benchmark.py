"""pytest-benchmark results as a run: a folder that is reported and compared like any other.

Every benchmark is a cell of the workload ``microbench``: its module, class and name are the axis
``benchmark``, its parameters are axes too, and every round is a sample. Numbers in ``extra_info`` are the
work of one call (``flops``, ``bytes``, ``frames`` ...). Where the file says what this project records of a
machine (``machine_info.environment``, which the project's own micro-benchmarks write), that is the run's
environment; else it is what pytest-benchmark itself found out.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from autogaze.errors import InputError
from bench import journal
from bench.devices import CPU
from bench.parquet import export
from bench.records import WHOLE, AxisValue, Cell, Environment, Record, Run, Sample, Status

WORKLOAD = "microbench"
SUITE_VERSION = 1

_LONGEST = 1e12
"""Seconds, and calls: nobody has measured as many, and sums of them stay numbers."""


class _Stats(BaseModel):
    data: list[Annotated[float, Field(gt=0, lt=_LONGEST)]] = Field(default_factory=list)
    """Seconds of one call, a mean over ``iterations`` of them, for each round."""
    iterations: Annotated[int, Field(ge=1, lt=_LONGEST)] = 1


class _Benchmark(BaseModel):
    name: str
    fullname: str
    params: dict[str, Any] | None = None
    extra_info: dict[str, Any] = Field(default_factory=dict)
    stats: _Stats


class _Cpu(BaseModel):
    brand_raw: str | None = None
    brand: str | None = None
    count: int | None = None


class _Machine(BaseModel):
    cpu: _Cpu = _Cpu()
    system: str = ""
    release: str = ""
    machine: str = ""
    python_version: str | None = None
    environment: Any = None
    """What this project's own micro-benchmarks record; others may keep anything here."""


class _Commit(BaseModel):
    id: str | None = None
    dirty: bool | None = None


class _File(BaseModel):
    """What is read of a file; pytest-benchmark writes more."""

    model_config = ConfigDict(extra="ignore")

    benchmarks: list[_Benchmark]
    machine_info: _Machine
    commit_info: _Commit = _Commit()
    datetime: str
    version: str


def import_results(path: Path, results: Path, command: tuple[str, ...]) -> Path:
    """Write the run that a JSON file of pytest-benchmark holds into ``results``; return the run's folder.

    Raises ``InputError`` for a file that cannot be read, is of another kind, holds no benchmark or one twice,
    or leaves the times of the rounds out.
    """
    file = _read(path)
    records = [_record(benchmark, path, file.datetime) for benchmark in file.benchmarks]
    twice = [key for key, times in Counter(record.cell.key for record in records).items() if times > 1]
    if not records:
        raise InputError(
            f"file {path} holds no benchmark: name one that a run of pytest-benchmark has written"
        )
    if twice:
        raise InputError(f"file {path} holds {twice[0]} twice: benchmarks need names of their own")
    run = Run(
        id=journal.run_id(WORKLOAD, CPU.slug),
        created=file.datetime,
        suite=WORKLOAD,
        suite_version=SUITE_VERSION,
        command=command,
        settings={"imported": path.name, "pytest_benchmark": file.version},
        environment=Environment(fields=_environment(file)),
        cells=tuple(record.cell for record in records),
    )
    folder = journal.create(run, results)
    with journal.appending(folder) as append:
        for record in records:
            append(record)
    export(folder)
    return folder


def _read(path: Path) -> _File:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        json.dumps(document, ensure_ascii=False).encode()  # what is no text cannot be written again
        return _File.model_validate(document)
    except OSError as error:
        raise InputError(
            f"file {path} cannot be read ({error.strerror}): name one that make microbench has written"
        ) from error
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "its outermost value"
        raise InputError(
            f"file {path} is not a result of pytest-benchmark ({where}: {error.errors()[0]['msg']}): "
            "name one written with --benchmark-json"
        ) from error
    except (ValueError, RecursionError) as error:
        # Text of another kind is no JSON; the rest is JSON with numbers or depths that are not read.
        words = (
            "" if isinstance(error, json.JSONDecodeError) else f" that can be read ({_first_words(error)})"
        )
        raise InputError(
            f"file {path} is not JSON{words}: name one that pytest-benchmark has written with "
            "--benchmark-json"
        ) from error


def _record(benchmark: _Benchmark, path: Path, started: str) -> Record:
    seconds, iterations = benchmark.stats.data, benchmark.stats.iterations
    if not seconds:
        raise InputError(
            f"benchmark {benchmark.fullname} in {path} has no times of its rounds: write the file with "
            "--benchmark-json, or save it with --benchmark-save-data"
        )
    numbers = {
        name: _amount(name, value, benchmark, path)
        for name, value in benchmark.extra_info.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return Record(
        cell=_cell(benchmark),
        status=Status.OK,
        notes=(f"a sample is the mean of {iterations} calls",) if iterations > 1 else (),
        samples=tuple(Sample(index=i, stage=WHOLE, seconds=each) for i, each in enumerate(seconds)),
        counters=numbers,
        details={name: value for name, value in benchmark.extra_info.items() if name not in numbers},
        started=started,
        elapsed_seconds=sum(seconds) * iterations,
    )


def _amount(name: str, value: int | float, benchmark: _Benchmark, path: Path) -> float:
    if not abs(value) <= sys.float_info.max:
        found = "not a number" if value != value else "beyond all numbers that are computed with"
        raise InputError(
            f"{name} of benchmark {benchmark.fullname} in {path} is no amount of work ({found}): leave it "
            "out of extra_info, or give what one call does"
        )
    return float(value)


def _first_words(error: Exception) -> str:
    return str(error).partition(";")[0].partition("\n")[0][:100]


def _cell(benchmark: _Benchmark) -> Cell:
    """Name a benchmark by module, class and function, without the words that pytest wants in front of
    them."""
    path, *names = benchmark.fullname.partition("[")[0].split("::")
    words = [re.sub(r"^test_", "", name) for name in (Path(path).stem, *names)]
    parameters = {
        name: value if isinstance(value, str | int | float | bool | None) else str(value)
        for name, value in (benchmark.params or {}).items()
    }
    return Cell(workload=WORKLOAD, axes={"benchmark": ".".join(words), **parameters})


def _environment(file: _File) -> dict[str, AxisValue]:
    machine = file.machine_info
    ours = machine.environment
    if isinstance(ours, dict) and all(isinstance(value, AxisValue) for value in ours.values()):
        return ours
    return {
        "device": CPU.torch_name,
        "device.name": CPU.name,
        "platform": " ".join(filter(None, (machine.system, machine.release, machine.machine))),
        "cpu.model": machine.cpu.brand_raw or machine.cpu.brand,
        "cpu.threads": machine.cpu.count,
        "python.version": machine.python_version,
        "git.commit": file.commit_info.id,
        "git.dirty": file.commit_info.dirty,
    }
