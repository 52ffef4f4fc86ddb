"""Read a suite: from a TOML file to the points it spans.

Everything that can be wrong with a suite is refused here, before anything runs.
"""

import importlib
import itertools
import math
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from autogaze.errors import InputError, unknown_name
from suites import WORKLOADS
from suites.workload import Axis, AxisValue, Inputs, Particular, Selective, Workload

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Point:
    """A workload and a value for each of its axes."""

    workload: str
    axes: tuple[tuple[str, AxisValue], ...]


@dataclass(frozen=True)
class Suite:
    """What a run measures, and how long it may take over it."""

    name: str
    version: int
    """Raised when the meaning of the points changes; runs of different versions are not compared."""
    description: str
    time_budget_seconds: float
    """Timed repetitions go on until this is used up, once ``min_samples`` are taken."""
    min_samples: int
    timeout_seconds: float
    """A point that takes longer, start and set-up included, is given up."""
    workloads: Mapping[str, str]
    """Workload name to ``module:class``."""
    points: tuple[Point, ...]
    """In the order of the file, each once."""
    left_out: int = 0
    """Points that overrides made and that are not measured: their workload does not know the value, or they
    mean nothing (:class:`suites.workload.Selective`)."""


class _SuiteFile(BaseModel):
    """The TOML file as written."""

    model_config = ConfigDict(extra="forbid")

    version: PositiveInt
    description: str
    time_budget_seconds: PositiveFloat
    min_samples: PositiveInt
    timeout_seconds: PositiveFloat
    workloads: dict[str, str] = Field(default_factory=dict)
    cells: list[dict[str, Any]] = Field(min_length=1)


def suite_names() -> list[str]:
    """Return the names of the suites that come with the project."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def read_axes(suite: str) -> dict[str, Mapping[str, Axis]]:
    """Return the axes of every workload that a suite has, by its name or the path of a TOML file.

    Raises ``InputError`` for an unknown suite or workload, and for a file that does not parse.
    """
    path = _suite_path(suite)
    file = _parse(path)
    registry = {**WORKLOADS, **file.workloads}
    return {name: workload_class(name, registry).axes for name, _ in _blocks(path, file)}


def load_suite(
    suite: str, overrides: Mapping[str, Sequence[str]] | None = None, given: Collection[str] = ()
) -> Suite:
    """Read a suite by name, or from the path of a TOML file.

    ``overrides`` maps axis names to values as typed on a command line; each replaces its axis in every block
    whose workload has that axis. ``given`` names the inputs of this run that only some values need
    (:attr:`suites.workload.Axis.needs`); what the suite has of other such values is left out.

    Raises ``InputError`` for an unknown suite, workload, axis or value, for a file that does not parse, for a
    value typed that needs an input which is not given, and for one given that nothing needs.
    """
    path = _suite_path(suite)
    file = _parse(path)
    registry = {**WORKLOADS, **file.workloads}
    overrides = dict(overrides or {})
    blocks = [(name, workload_class(name, registry).axes, block) for name, block in _blocks(path, file)]
    known_axes = {axis for _, axes, _ in blocks for axis in axes}
    if unused := set(overrides) - known_axes:
        raise unknown_name(f"axis of suite {path.stem}", min(unused), known_axes)
    takers = [axes for _, axes, _ in blocks]
    points: dict[Point, set[str]] = {}
    refused = 0
    for name, axes, block in blocks:
        taken = {axis: _taken(axis, texts, axes, takers) for axis, texts in overrides.items() if axis in axes}
        refused += _size(block, axes, overrides) - _size(block, axes, taken)
        points |= {point: _needs(point, axes) for point in _points(name, block, axes, taken, given)}
    meaningful = {point: needs for point, needs in points.items() if _makes_sense(point, registry, overrides)}
    if not meaningful:
        typed = " ".join(f"{name.upper()}={','.join(values)}" for name, values in overrides.items())
        raise InputError(f"no cell of suite {path.stem} means anything with {typed}: ask for other values")
    measurable = _measurable(path.stem, meaningful, set(given))
    return Suite(
        path.stem,
        file.version,
        file.description,
        file.time_budget_seconds,
        file.min_samples,
        file.timeout_seconds,
        registry,
        measurable,
        refused + len(points) - len(meaningful),
    )


def _blocks(path: Path, file: _SuiteFile) -> Iterator[tuple[str, dict[str, Any]]]:
    for block in file.cells:
        name = block.get("workload")
        if not isinstance(name, str):
            raise InputError(
                f"a [[cells]] block of suite {path.name} names no workload: "
                f"known are {', '.join(sorted({**WORKLOADS, **file.workloads}))}"
            )
        yield name, block


def _size(block: Mapping[str, Any], axes: Mapping[str, Axis], overrides: Mapping[str, Sequence[str]]) -> int:
    """Return how many points a block makes."""
    written = {**{name: block.get(name) for name in axes}, **overrides}
    return math.prod(len(values) for name in axes if isinstance(values := written[name], list))


def _taken(
    name: str, texts: Sequence[str], axes: Mapping[str, Axis], takers: Sequence[Mapping[str, Axis]]
) -> list[str]:
    """Return those of the values typed for an axis that a workload is asked for: one that it does not know is
    left to another workload of the suite that does, and kept to be refused where there is none."""

    def knows(axis: Axis, text: str) -> bool:
        return not axis.known or text in map(str, axis.known)

    others = [other[name] for other in takers if name in other]
    return [
        text for text in texts if knows(axes[name], text) or not any(knows(other, text) for other in others)
    ]


def workload_class(name: str, registry: Mapping[str, str] = WORKLOADS) -> type[Workload]:
    """Import the workload called ``name``; raises ``InputError`` for one that is not in ``registry``."""
    if name not in registry:
        raise unknown_name("workload", name, registry)
    module, _, attribute = registry[name].partition(":")
    try:
        found: type[Workload] = getattr(importlib.import_module(module), attribute)
    except (ModuleNotFoundError, AttributeError) as error:
        raise InputError(
            f"workload '{name}' is registered as '{registry[name]}', which cannot be imported: {error}"
        ) from error
    return found


def check_inputs(points: Iterable[Point], registry: Mapping[str, str], inputs: Inputs) -> None:
    """Raise ``InputError`` for inputs that some point cannot be measured with."""
    for point in points:
        workload: object = workload_class(point.workload, registry)
        if isinstance(workload, Particular):
            workload.check(dict(point.axes), inputs)


def _measurable(suite: str, points: Mapping[Point, set[str]], given: set[str]) -> tuple[Point, ...]:
    """Return the points whose needs are given; raise ``InputError`` where there is none, or where something
    is given in vain."""
    needed = {name for needs in points.values() for name in needs}
    if idle := given - needed:
        raise InputError(
            f"no cell of suite {suite} takes {min(idle).upper()}: leave it out, take suite engines, or ask "
            "for ENGINE=released"
        )
    found = tuple(point for point, needs in points.items() if needs <= given)
    if not found:
        raise InputError(f"every cell of suite {suite} needs {min(needed).upper()}: give it")
    return found


def _makes_sense(point: Point, registry: Mapping[str, str], typed: Collection[str]) -> bool:
    workload: object = workload_class(point.workload, registry)
    return not isinstance(workload, Selective) or workload.makes_sense(dict(point.axes), typed)


def _needs(point: Point, axes: Mapping[str, Axis]) -> set[str]:
    """Return the inputs without which the point cannot be measured."""
    return {axes[name].needs[value] for name, value in point.axes if value in axes[name].needs}


def _suite_path(suite: str) -> Path:
    if suite.endswith(".toml"):
        path = Path(suite)
        if not path.is_file():
            raise InputError(
                f"suite file {suite} does not exist: name a TOML file or one of {', '.join(suite_names())}"
            )
        return path
    if suite not in suite_names():
        raise unknown_name("suite", suite, suite_names())
    return _FOLDER / f"{suite}.toml"


def _parse(path: Path) -> _SuiteFile:
    try:
        return _SuiteFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"suite file {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        # A misspelt key is reported twice, as unknown and as missing: the first says what happened.
        first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise unknown_name(f"key in suite file {path.name}", key, _SuiteFile.model_fields) from error
        raise InputError(f"suite file {path}: '{key}' is wrong: {first['msg']}") from error


def _points(
    workload: str,
    block: Mapping[str, Any],
    axes: Mapping[str, Axis],
    overrides: Mapping[str, Sequence[str]],
    inputs: Collection[str],
) -> list[Point]:
    """Return the product of one block's axes, the last axis varying fastest."""
    for name in block:
        if name != "workload" and name not in axes:
            raise unknown_name(f"axis of workload {workload}", name, axes)
    values: dict[str, list[AxisValue]] = {}
    for name, axis in axes.items():
        if name in overrides:
            if not overrides[name]:  # all that was typed is for other workloads
                return []
            given: list[Any] = [_typed(workload, name, axis, text, inputs) for text in overrides[name]]
        else:
            written = block.get(name, axis.default)
            given = written if isinstance(written, list) else [written]
        if not given:
            raise InputError(f"axis {name} of workload {workload} has no values: give at least one")
        values[name] = [_accepted(workload, name, axis, value) for value in given]
    return [Point(workload, tuple(zip(values, chosen))) for chosen in itertools.product(*values.values())]


def _typed(workload: str, name: str, axis: Axis, text: str, inputs: Collection[str]) -> AxisValue:
    """Read a value typed on the command line as the type the axis has; what it needs must be given."""
    example = next((value for value in (axis.default, *axis.known) if value is not None), "")
    try:
        value = (
            {"true": True, "false": False}[text.lower()] if isinstance(example, bool) else type(example)(text)
        )
    except (ValueError, KeyError):
        raise InputError(
            f"value '{text}' of axis {name} of workload {workload} does not fit: write it like {example}"
        ) from None
    if axis.needs.get(value) not in (None, *inputs):
        raise InputError(f"{name} {value} needs {axis.needs[value].upper()}: give it, or leave {value} out")
    return value


def _accepted(workload: str, name: str, axis: Axis, value: Any) -> AxisValue:
    """Return the value in the axis's own form: equal values come out equal, or a point would run twice."""
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"value {value} of axis {name} of workload {workload} must be finite")
    if not isinstance(value, str | int | float | bool | None):
        raise InputError(f"value {value!r} of axis {name} of workload {workload} must be a word or a number")
    if axis.known:
        for known in axis.known:
            if known == value and isinstance(known, bool) == isinstance(value, bool):
                return known
        raise unknown_name(f"value of axis {name} of workload {workload}", str(value), map(str, axis.known))
    if axis.check is not None:
        checked = axis.check(value)
        return checked if isinstance(checked, str | int | float | bool) else value
    return value
