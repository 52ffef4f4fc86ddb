"""Read a suite: from a TOML file to the points it spans.

Everything that can be wrong with a suite is refused here, before anything runs.
"""

import importlib
import itertools
import math
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from autogaze.errors import InputError, unknown_name
from suites import WORKLOADS
from suites.workload import Axis, AxisValue, Inputs, Particular, Workload

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
    points: dict[Point, set[str]] = {}
    unused = set(overrides)
    known_axes: set[str] = set()
    for block in file.cells:
        name = block.get("workload")
        if not isinstance(name, str):
            raise InputError(
                f"a [[cells]] block of suite {path.name} names no workload: "
                f"known are {', '.join(sorted(registry))}"
            )
        axes = workload_class(name, registry).axes
        known_axes |= set(axes)
        unused -= set(axes)
        points |= {point: _needs(point, axes) for point in _points(name, block, axes, overrides, given)}
    if unused:
        raise unknown_name(f"axis of suite {path.stem}", min(unused), known_axes)
    measurable = _measurable(path.stem, points, set(given))
    return Suite(
        path.stem,
        file.version,
        file.description,
        file.time_budget_seconds,
        file.min_samples,
        file.timeout_seconds,
        registry,
        measurable,
    )


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
