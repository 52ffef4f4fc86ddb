"""Make targets: the variables that each takes, and the command that they mean.

``make`` asks here, before anything is set up, whether the variables typed are known: nothing but the standard
library may be imported until they are.

``python -m bench.make_targets check TARGETS -- VARIABLES`` refuses an unknown variable in a sentence;
``python -m bench.make_targets run TARGET VARIABLES`` carries a target out, with the values of the variables
from the environment.
"""

import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from autogaze.errors import InputError, unknown_name
from bench.wheels import check_packages, use

_NAMED_AXES = ("ATTN", "CHUNK", "DTYPE", "SETTING", "BATCH", "ENGINE")
"""Axes with an option of their own; ``ATTN`` is short for the axis of attention backends."""
AXES = (
    *_NAMED_AXES,
    *("ATTN_TYPE", "BACKEND", "CLIP", "CLIPS", "FORM", "HEADS", "HEAD_DIM", "JUDGE", "MASK", "MEMORY"),
    *("OPERATION", "PADDING", "POSITIONS", "RECONSTRUCTOR", "SELECTOR", "SIZE", "SOURCE", "TOKENS"),
)
"""Variables that are axes of suites."""
_INPUTS = ("VIDEO", "CHECKPOINT", "TASK_CHECKPOINT", "REVISION", "TASK_REVISION", "GEOMETRY", "SEED")
_EVALUATED = (
    *("VIDEO", "CHECKPOINT", "REVISION", "TASK_CHECKPOINT", "TASK_REVISION", "SEED"),
    *("CLIP_LEN", "CLIP_STARTS", "MAX_CLIPS", "VIZ_CLIPS", "OUTPUT_DIR"),
)
_EFFORT = ("SAMPLES", "TIME_BUDGET", "OUT", "RESUME", "RETRY")
_FLAGS = ("PLAN", "RETRY", "JSON", "PROFILE")
CALLED_FROM = "MAKE_CALLED_FROM"
"""The environment variable that holds the folder in which ``make`` was typed."""
_ANYWHERE = ("PYTHON", "VENV", "SHELL", "MAKE", "MAKEFLAGS")
"""Variables that every target may be given."""
_BARE = "gpu-check"
"""The target that runs with the Python that is there."""
_NO = ("", "0", "no", "false", "off")
_RUNS = "name runs, such as {}; make list shows them"


@dataclass(frozen=True)
class Target:
    """What a target of the Makefile takes."""

    variables: tuple[str, ...] = ()
    command: str = ""
    """The command of ``python -m bench`` that it carries out; empty where the Makefile does the work."""
    positional: tuple[str, ...] = ()
    """Variables that stand for arguments, each word of a value for one."""
    example: str = ""
    """What to say to somebody who left those out."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Options that are not called like their variable."""


TARGETS = {
    "bench": Target(
        (
            "GPU",
            "SUITE",
            *AXES,
            "AXES",
            *_INPUTS,
            "UPSTREAM",
            "UPSTREAM_PYTHON",
            *_EFFORT,
            "PROFILE",
            "PLAN",
            "JSON",
        ),
        "run",
    ),
    "evaluate": Target(
        ("GPU", "ATTN", *_EVALUATED, *_EFFORT, "ARGS"),
        "evaluate",
        renamed={
            "GPU": "device",
            "ATTN": "attn-mode",
            "CHECKPOINT": "autogaze-model",
            "REVISION": "autogaze-revision",
            "TASK_CHECKPOINT": "task-asset-repo",
            "TASK_REVISION": "task-asset-revision",
        },
    ),
    "compare": Target(
        ("A", "B", "TOLERANCE", "ALLOW", "RESULTS", "JSON"),
        "compare",
        ("A", "B"),
        _RUNS.format("A=latest~1 B=latest"),
    ),
    "regress": Target(
        ("BASE", "GPU", "SUITE", *_NAMED_AXES, "SEED", "BUDGET", "TOLERANCES", "JSON"),
        "regress",
        ("BASE",),
        "name a commit, such as BASE=HEAD~1, or the folder of a checkout",
    ),
    "calibrate": Target(("GPU", "SUITE", *_NAMED_AXES, "SEED", "PROCESSES", "PAIRS", "JSON"), "calibrate"),
    "selfcheck": Target(
        (
            *("GPU", "SUITE", *_NAMED_AXES, "SEED", "COMPARISONS", "TRIALS", "MINUTES", "CALLS", "BUDGET"),
            *("TOLERANCES", "FORMAT", "JSON"),
        ),
        "selfcheck",
    ),
    "report": Target(("RUNS", "OUT", "RESULTS"), "report", ("RUNS",), _RUNS.format("RUNS='latest latest~1'")),
    "list": Target(("RESULTS", "JSON"), "list"),
    "suites": Target(("JSON",), "suites"),
    "axes": Target(
        ("SUITE", "JSON"), "axes", ("SUITE",), "name one, such as SUITE=default; make suites lists them"
    ),
    "doctor": Target(("JSON",), "doctor"),
    "gpu-check": Target(("GPU", "OUT", "LIMIT", "WHEELS"), "gpu-check"),
    "test": Target(("ARGS",)),
    "test-oldest": Target(("OLDEST",)),
    "test-newest": Target(("NEWEST", "OUT")),
    "check-kernels": Target(("ARGS",)),
    "microbench": Target(("OUT", "ARGS")),
    "train-embedded": Target(("OUT", "SCALE", "PROCESSES")),
    **dict.fromkeys(("help", "setup", "lint", "clean"), Target()),
}


def check(targets: Sequence[str], typed: Iterable[str]) -> None:
    """Raise ``InputError`` for a variable that none of the ``targets`` takes, naming the nearest that one
    does; of an unknown target ``make`` itself complains."""
    if not TARGETS.keys() >= set(targets):
        return
    known = sorted({name for target in targets for name in TARGETS[target].variables})
    what = " ".join(["make", *targets])
    for name in typed:
        if name in known or name in _ANYWHERE:
            continue
        if not known:
            raise InputError(f"{what} takes no variables, and {name}= was given: leave it out")
        raise unknown_name(f"variable of {what}", name, known)


def arguments(target: str, values: Mapping[str, str]) -> list[str]:
    """Return the arguments of ``python -m bench`` that a target with these values of variables means.

    Empty values mean that a variable was not given. Raises ``InputError`` where one that stands for arguments
    is missing, and for ``ARGS`` that no shell can read.
    """
    what = TARGETS[target]
    found = [what.command]
    given = {name: value for name, value in values.items() if name in what.variables and value.strip()}
    if missing := [name for name in what.positional if name not in given]:
        needs = " and ".join(f"{name}=" for name in missing)
        raise InputError(f"make {target} needs {needs}: {what.example}")
    for name, value in given.items():
        if name not in what.positional:
            found += _option(what, name, value)
    for name in what.positional:
        found += given[name].split()
    return found


def _option(target: Target, name: str, value: str) -> list[str]:
    if name == "ARGS":
        try:
            return shlex.split(value)
        except ValueError as error:
            raise InputError(f"ARGS {value} cannot be read ({error}): close what is quoted") from None
    if name in _FLAGS:
        return [] if value.strip().lower() in _NO else [f"--{name.lower()}"]
    if name == "ALLOW":
        return [part for field in value.split() for part in ("--allow", field)]
    if name == "AXES":
        return [part for axis in value.split() for part in ("--axis", axis)]
    if name in AXES and name not in _NAMED_AXES:
        return ["--axis", f"{name.lower()}={value}"]
    return [f"--{target.renamed.get(name, name.lower().replace('_', '-'))}={value}"]


def main(words: Sequence[str]) -> None:
    """Do what the first word says; a refusal is a sentence, and exit code 2.

    That of ``check`` goes to standard output, where ``make`` reads it.
    """
    action, *rest = words
    try:
        if action == "check":
            end = rest.index("--")
            check(rest[:end] or ["help"], rest[end + 1 :])
        else:
            _run(rest[0], rest[1:])
    except InputError as error:
        print(
            error if action == "check" else f"error: {error}",
            file=sys.stdout if action == "check" else sys.stderr,
        )
        sys.exit(2)


def _bring_packages(wheels: str) -> None:
    """Take what this interpreter lacks from a folder of wheels, if one is named; refuse it if packages are
    missing then."""
    if wheels:
        use(Path(wheels))
    check_packages(Path(__file__).parents[1] / "pyproject.toml", given=bool(wheels))


def _run(target: str, names: Sequence[str]) -> None:
    taken = [name for name in names if name in TARGETS[target].variables]
    values = {name: os.environ.get(name, "") for name in taken}
    command = arguments(target, values)
    if target == _BARE:
        _bring_packages(values.get("WHEELS", "").strip())
    from bench.cli import main as bench

    # With make -C, who types is not where this runs.
    elsewhere = os.environ.get(CALLED_FROM, os.getcwd()) != os.getcwd()
    make = ("make", *(("-C", os.getcwd()) if elsewhere else ()))
    bench(command, typed=(*make, target, *(f"{name}={value}" for name, value in values.items())))


if __name__ == "__main__":
    main(sys.argv[1:])
