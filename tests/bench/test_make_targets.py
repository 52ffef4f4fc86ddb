"""Make variables: refused where a target does not take them, and turned into options where it does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.make_targets import TARGETS, arguments, check
from suites import WORKLOADS
from suites.catalogue import ATTENTION
from suites.loader import workload_class

REPOSITORY = Path(__file__).parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")


def test_every_target_of_the_makefile_is_known() -> None:
    assert set(TARGETS) == set(re.findall(r"^([a-z-]+):.*##", MAKEFILE, flags=re.MULTILINE))


@pytest.mark.parametrize("target", TARGETS)
def test_every_variable_that_the_makefile_shows_with_a_target_is_one_that_it_takes(target: str) -> None:
    (shown,) = re.findall(rf"^{target}:.*## (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert set(re.findall(r"\b([A-Z_]+)=", shown)) <= set(TARGETS[target].variables)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_axis_has_a_variable(workload: str) -> None:
    axes = {"ATTN" if axis in ATTENTION else axis.upper() for axis in workload_class(workload).axes}
    assert axes <= set(TARGETS["bench"].variables)


@pytest.mark.parametrize(
    ("targets", "typed", "sentence"),
    [
        (["bench"], "ATN", "unknown variable of make bench 'ATN': did you mean 'ATTN'?"),
        (["bench"], "SAMPELS", "did you mean 'SAMPLES'?"),
        (["bench"], "suite", "did you mean 'SUITE'?"),
        (["compare"], "SUITE", "known are A, ALLOW, B, JSON, RESULTS, TOLERANCE"),
        (["lint"], "ARGS", "make lint takes no variables, and ARGS= was given: leave it out"),
        (["help"], "GPU", "make help takes no variables"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_known_one(
    targets: list[str], typed: str, sentence: str
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        check(targets, ["PYTHON", typed])


def test_a_variable_may_be_for_any_of_several_targets() -> None:
    check(["lint", "test"], ["ARGS", "PYTHON"])
    check(["no-such-target"], ["ANYTHING"])


@pytest.mark.parametrize(
    ("target", "values", "words"),
    [
        ("bench", {}, ["run"]),
        ("bench", {"SUITE": "smoke", "CHUNK": ""}, ["run", "--suite=smoke"]),
        ("bench", {"TIME_BUDGET": "5", "SEED": "0"}, ["run", "--time-budget=5", "--seed=0"]),
        ("bench", {"PLAN": "1", "RETRY": "0"}, ["run", "--plan"]),
        ("bench", {"PROFILE": "1"}, ["run", "--profile"]),
        ("gpu-check", {"WHEELS": "wheels", "LIMIT": "60"}, ["gpu-check", "--wheels=wheels", "--limit=60"]),
        ("bench", {"OPERATION": "decode_step"}, ["run", "--axis", "operation=decode_step"]),
        ("bench", {"AXES": "mine=1,2 yours=3"}, ["run", "--axis", "mine=1,2", "--axis", "yours=3"]),
        ("bench", {"VIDEO": "it's my clip.mp4"}, ["run", "--video=it's my clip.mp4"]),
        ("compare", {"B": "latest", "A": "latest~1"}, ["compare", "latest~1", "latest"]),
        (
            "compare",
            {"A": "a", "B": "b", "ALLOW": "av cuda"},
            ["compare", "--allow", "av", "--allow", "cuda", "a", "b"],
        ),
        ("report", {"RUNS": "a b", "OUT": "out"}, ["report", "--out=out", "a", "b"]),
        (
            "evaluate",
            {"GPU": "cpu", "ARGS": "--max-clips '2'"},
            ["evaluate", "--device=cpu", "--max-clips", "2"],
        ),
        ("axes", {"SUITE": "kernels"}, ["axes", "kernels"]),
    ],
)
def test_variables_become_options(target: str, values: dict[str, str], words: list[str]) -> None:
    assert arguments(target, values) == words


@pytest.mark.parametrize(
    ("target", "values", "sentence"),
    [
        ("compare", {"A": "a"}, "make compare needs B=: name runs, such as A=latest~1 B=latest"),
        ("report", {}, "make report needs RUNS="),
        ("axes", {}, "make axes needs SUITE="),
        ("evaluate", {"ARGS": "'"}, "ARGS ' cannot be read"),
    ],
)
def test_a_target_without_what_it_needs_is_refused(
    target: str, values: dict[str, str], sentence: str
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        arguments(target, values)


def test_variables_are_checked_with_the_standard_library_alone() -> None:
    command = [sys.executable, "-S", "-m", "bench.make_targets", "check", "bench", "--", "ATN"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert done.stdout.startswith("unknown variable of make bench 'ATN': did you mean 'ATTN'?")
