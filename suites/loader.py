"""Read a suite: from a TOML file to the points it spans.

Everything that can be wrong with a suite is refused here, before anything runs.
"""

import importlib
import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError

from autogaze.errors import InputError, unknown_name
from suites import WORKLOADS
from suites.workload import Axis, AxisValue, Workload

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


def load_suite(suite: str, overrides: Mapping[str, Sequence[str]] | None = None) -> Suite:
    """Read a suite by name, or from the path of a TOML file.

    ``overrides`` maps axis names to values as typed on a command line; each replaces its axis in every block
    whose workload has that axis.

    Raises ``InputError`` for an unknown suite, workload, axis or value, and for a file that does not parse.
    """
    path = _suite_path(suite)
    file = _parse(path)
    registry = {**WORKLOADS, **file.workloads}
    overrides = dict(overrides or {})
    points: dict[Point, None] = {}
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
        points |= dict.fromkeys(_points(name, block, axes, overrides))
    if unused:
        raise unknown_name(f"axis of suite {path.stem}", min(unused), known_axes)
    return Suite(
        path.stem,
        file.version,
        file.description,
        file.time_budget_seconds,
        file.min_samples,
        file.timeout_seconds,
        registry,
        tuple(points),
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
    workload: str, block: Mapping[str, Any], axes: Mapping[str, Axis], overrides: Mapping[str, Sequence[str]]
) -> list[Point]:
    """Return the product of one block's axes, the last axis varying fastest."""
    for name in block:
        if name != "workload" and name not in axes:
            raise unknown_name(f"axis of workload {workload}", name, axes)
    values: dict[str, list[AxisValue]] = {}
    for name, axis in axes.items():
        if name in overrides:
            given: list[Any] = [_typed(workload, name, axis, text) for text in overrides[name]]
        else:
            written = block.get(name, axis.default)
            given = written if isinstance(written, list) else [written]
        if not given:
            raise InputError(f"axis {name} of workload {workload} has no values: give at least one")
        values[name] = [_accepted(workload, name, axis, value) for value in given]
    return [Point(workload, tuple(zip(values, chosen))) for chosen in itertools.product(*values.values())]


def _typed(workload: str, name: str, axis: Axis, text: str) -> AxisValue:
    """Read a value typed on the command line as the type the axis has."""
    example = next((value for value in (axis.default, *axis.known) if value is not None), "")
    try:
        if isinstance(example, bool):
            return {"true": True, "false": False}[text.lower()]
        return type(example)(text)
    except (ValueError, KeyError):
        raise InputError(
            f"value '{text}' of axis {name} of workload {workload} does not fit: write it like {example}"
        ) from None


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
