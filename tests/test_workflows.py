"""Workflows of the continuous integration: what may start them, what they may do, and what their steps do.

Steps are run as the runner runs them, with programs in place of ``gh``, ``make`` and the measuring Python,
which write down how they are called.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".github" / "workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yml"))
ON_OUR_MACHINE = "${{ vars.BENCH_RUNNER }}"
GUIDE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yml").read_text(encoding="utf-8"))


def triggers(name: str) -> dict[str, Any]:
    return workflow(name)[True]  # YAML 1.1 takes the key "on" for a truth value


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("name", NAMES)
def test_workflows_follow_the_schema(name: str) -> None:
    schema = ["--builtin-schema", "vendor.github-workflows", str(FOLDER / f"{name}.yml")]
    done = subprocess.run([sys.executable, "-m", "check_jsonschema", *schema], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_pinned_by_commit_and_keep_no_credentials(name: str) -> None:
    text = (FOLDER / f"{name}.yml").read_text(encoding="utf-8")
    for used in re.findall(r"uses: (.*)", text):
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", used), used
    for step in steps(name):
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", NAMES)
def test_a_step_hears_of_the_event_through_variables_alone(name: str) -> None:
    """An expression inside a script is pasted into it, quotes and commands of a branch's name included."""
    for step in steps(name):
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("name", NAMES)
def test_only_the_comment_may_write_and_it_runs_no_code_of_the_change(name: str) -> None:
    rights = workflow(name)["permissions"]
    assert not any("permissions" in job for job in workflow(name)["jobs"].values())
    if name == "gpu-bench-comment":
        assert rights == {"actions": "read", "pull-requests": "write"}
        assert not any("uses" in step for step in steps(name))
        assert all(job["runs-on"] == "ubuntu-latest" for job in workflow(name)["jobs"].values())
    else:
        assert rights == {"contents": "read"}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_from_outside_starts_anything_on_our_machine(name: str) -> None:
    for job in workflow(name)["jobs"].values():
        if job["runs-on"] == "ubuntu-latest":
            continue
        assert job["runs-on"] == ON_OUR_MACHINE
        assert job["if"] == "vars.BENCH_RUNNER != ''"
        assert triggers(name).keys() <= {"push", "workflow_dispatch", "schedule"}
        assert triggers(name).get("push") in (None, {"branches": ["pull-request/[0-9]+"]})


def test_the_comment_follows_gpu_bench_and_reads_what_that_keeps() -> None:
    follows = triggers("gpu-bench-comment")["workflow_run"]
    assert follows == {"workflows": [workflow("gpu-bench")["name"]], "types": ["completed"]}
    (kept,) = [s["with"]["name"] for s in steps("gpu-bench") if "upload-artifact" in s.get("uses", "")]
    assert f"--name {kept} " in script("gpu-bench-comment", "Fetch what was found")


def test_the_guide_names_every_workflow_and_every_variable_that_they_read() -> None:
    texts = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.yml"))
    for variable in set(re.findall(r"vars\.(\w+)", texts)):
        assert f"`{variable}`" in GUIDE
    for name in NAMES:
        assert f"`{name}.yml`" in GUIDE


# What the steps do


def script(name: str, title: str) -> str:
    (found,) = [step["run"] for step in steps(name) if step.get("name") == title]
    return found


class Runner:
    """A stand-in for the machine that runs steps, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "work"
        self._programs = folder / "programs"
        self.summary = folder / "summary"
        self.output = folder / "output"
        self._calls = folder / "calls"
        for made in (self.folder, self._programs):
            made.mkdir()
        for file in (self.summary, self.output, self._calls):
            file.touch()

    def program(self, name: str, does: str) -> None:
        """Put a program in place, by its name on the path or its path in the folder."""
        path = self.folder / name if "/" in name else self._programs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'#!/bin/bash\necho "{path.name} $*" >> "{self._calls}"\n{does}\n', encoding="utf-8")
        path.chmod(0o755)

    def step(self, name: str, title: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a step, which must need no variables but these and those of the runner."""
        given = variables | {"GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_OUTPUT": str(self.output)}
        (text,) = [step for step in steps(name) if step.get("name") == title]
        (job,) = workflow(name)["jobs"].values()
        needed = text.get("env", {}).keys() | {
            variable for variable in job.get("env", {}) if f"${variable}" in text["run"]
        }
        assert needed <= variables.keys()
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-euo", "pipefail", "-c", text["run"]],  # -u is ours
            cwd=self.folder,
            env={**_plain_environment(), "PATH": f"{self._programs}:{os.environ['PATH']}", **given},
            capture_output=True,
            text=True,
            timeout=60,
        )

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text(encoding="utf-8").splitlines()


def _plain_environment() -> Mapping[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_"))}


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


CASE = {"BASE": "0123abc", "SUITE": "smoke", "GPU": "auto", "BUDGET": "60"}


@pytest.mark.parametrize(
    ("code", "is_red", "said"),
    [
        (0, False, "nothing is worse"),
        (1, True, "worse"),
        (2, True, "not measured (exit code 2)"),
        (3, False, "nothing is worse that could be decided; some is undecided"),
        (4, False, "no cell can be compared: the change gives them another meaning"),
    ],
)
def test_a_change_is_measured_in_turns_and_only_worse_or_unmeasured_is_red(
    runner: Runner, code: int, is_red: bool, said: str
) -> None:
    runner.program(".venv/bin/python", f"echo a table >&2; echo '{{\"cells\": []}}'; exit {code}")
    done = runner.step("gpu-bench", "Measure both in turns", **CASE)
    assert (done.returncode != 0) is is_red, done.stderr
    assert runner.calls == [
        "python -m bench regress 0123abc --suite smoke --gpu auto --budget 60 --json",
    ]
    results = runner.folder / "results"
    assert (results / "regress.json").read_text() == '{"cells": []}\n'
    assert (results / "regress.txt").read_text() == "a table\n"
    assert (results / "verdict.txt").read_text() == f"{said}\n"
    assert f"**{said}**\n```\na table\n```" in runner.summary.read_text()
    assert ("::warning::" in done.stdout) is (code in (3, 4))


def test_options_of_the_steps_are_options_of_the_command() -> None:
    from typer.main import get_command

    from bench.cli import app

    (regress,) = [each for name, each in get_command(app).commands.items() if name == "regress"]  # type: ignore[attr-defined]
    known = {option for parameter in regress.params for option in parameter.opts}
    for name, title in (("gpu-bench", "Measure both in turns"), ("calibrate", "Measure it against itself")):
        (call,) = re.findall(r"bench regress (.*?)2>&1", script(name, title), flags=re.DOTALL)
        assert set(re.findall(r"--[\w-]+", call)) <= known


def test_set_up_is_the_projects_own(runner: Runner) -> None:
    runner.program("make", "")
    for name in ("gpu-bench", "calibrate"):
        assert runner.step(name, "Set up").returncode == 0
    assert runner.calls == ["make setup", "make setup"]


@pytest.fixture
def history(runner: Runner, tmp_path: Path) -> dict[str, str]:
    """Give the runner a clone in which the change left the default branch one commit ago."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    origin = tmp_path / "origin"
    who = ("-c", "user.name=nobody", "-c", "user.email=nobody@example.org")

    def git(folder: Path, *words: str) -> str:
        command = ["git", "-C", str(folder), *who, *words]
        return subprocess.run(
            command, check=True, capture_output=True, text=True, env={**_plain_environment()}
        ).stdout.strip()

    origin.mkdir()
    git(origin, "init", "-q", "-b", "trunk")
    git(origin, "commit", "-q", "--allow-empty", "-m", "shared")
    git(origin, "checkout", "-q", "-b", "pull-request/7")
    git(origin, "commit", "-q", "--allow-empty", "-m", "change")
    git(origin, "checkout", "-q", "trunk")
    git(origin, "commit", "-q", "--allow-empty", "-m", "newer")
    git(tmp_path, "clone", "-q", "--branch", "pull-request/7", str(origin), str(runner.folder))
    names = {"shared": "origin/trunk~1", "newer": "origin/trunk", "change": "HEAD"}
    return {name: git(runner.folder, "rev-parse", revision) for name, revision in names.items()}


@pytest.mark.parametrize(("given", "found"), [("", "shared"), ("trunk", "newer"), ("HEAD", "change")])
def test_the_base_is_where_the_change_left_the_default_branch_or_what_was_asked_for(
    runner: Runner, history: dict[str, str], given: str, found: str
) -> None:
    if given == "HEAD":
        given = history["change"]
    done = runner.step("gpu-bench", "Find the base", GIVEN=given, DEFAULT_BRANCH="trunk")
    assert done.returncode == 0, done.stderr
    assert runner.output.read_text() == f"commit={history[found]}\n"


@pytest.mark.parametrize("given", ["nowhere", "--help", "$(touch made)", "trunk..HEAD"])
def test_a_base_that_is_none_is_refused_and_never_carried_out(
    runner: Runner, history: dict[str, str], given: str
) -> None:
    done = runner.step("gpu-bench", "Find the base", GIVEN=given, DEFAULT_BRANCH="trunk")
    assert done.returncode == 2
    assert f"::error::base {given} is neither a branch nor a commit" in done.stdout
    assert runner.output.read_text() == ""
    assert not (runner.folder / "made").exists()


EVENT = {
    "REPOSITORY": "owner/name",
    "BRANCH": "pull-request/7",
    "COMMIT": "0123456789",
    "RUN": "42",
    "LOG": "https://example.org/runs/42",
}


def commented(
    runner: Runner, existing: str = "", verdict: str = "worse", table: str = "a table", kept: str = "true"
) -> str:
    """Run the steps of the comment, with what an artifact holds; return the comment."""
    (runner.folder.parent / "verdict").write_text(f"{verdict}\n", encoding="utf-8")
    (runner.folder.parent / "table").write_text(f"{table}\n", encoding="utf-8")
    runner.program(
        "gh",
        f"""case "$*" in
          run*) {kept}; cp ../verdict results/verdict.txt; cp ../table results/regress.txt ;;
          *--jq*) printf '{existing}' ;;
        esac""",
    )
    for title in ("Fetch what was found", "Write the comment", "Post or update it"):
        done = runner.step("gpu-bench-comment", title, **EVENT)
        assert done.returncode == 0, done.stderr
    return (runner.folder / "comment.md").read_text(encoding="utf-8")


def test_a_first_run_posts_a_comment_and_later_ones_update_it(runner: Runner) -> None:
    comment = commented(runner)
    assert comment.startswith("<!-- gpu-bench -->\n`0123456789` against its base: `worse`")
    assert "\n```\na table\n\n```\n" in comment
    assert runner.calls[0] == "gh run download 42 --repo owner/name --name regress --dir results"
    assert runner.calls[1].startswith("gh api --paginate repos/owner/name/issues/7/comments --jq ")
    posted = "gh api --method POST repos/owner/name/issues/7/comments --field body=@comment.md"
    assert runner.calls[2:] == [posted]
    commented(runner, existing="31\\n35\\n")
    updated = "gh api --method PATCH repos/owner/name/issues/comments/31 --field body=@comment.md"
    assert runner.calls[-1] == updated


def test_a_run_that_kept_nothing_is_said_to_be_not_measured(runner: Runner) -> None:
    assert "`not measured`" in commented(runner, kept="exit 1")


def test_what_the_change_wrote_cannot_leave_its_block_or_flood_the_comment(runner: Runner) -> None:
    hostile = "```\n# [click](https://example.org)\n\x1b[31m``` @everybody\n" + "x" * 200_000
    comment = commented(runner, verdict="`# worse`", table=hostile)
    assert len(comment) < 60_000
    assert "\x1b" not in comment
    assert comment.count("```") == 2
    assert comment.rstrip().endswith("```")
    assert "`# worse`" in comment


def test_a_branch_that_names_no_pull_request_is_not_commented_on(runner: Runner) -> None:
    runner.program("gh", "exit 1")
    event = EVENT | {"BRANCH": "pull-request/7/../8"}
    assert runner.step("gpu-bench-comment", "Post or update it", **event).returncode != 0
    assert runner.calls == []


@pytest.mark.skipif(shutil.which("jq") is None, reason="needs jq, which speaks the language of gh api --jq")
def test_the_comment_to_update_is_our_own() -> None:
    (question,) = re.findall(r"mine='(.*)'", script("gpu-bench-comment", "Post or update it"))
    comments = """[{"id": 1, "user": {"login": "somebody"}, "body": "<!-- gpu-bench --> not ours"},
                   {"id": 2, "user": {"login": "github-actions[bot]"}, "body": "of another workflow"},
                   {"id": 3, "user": {"login": "github-actions[bot]"}, "body": "<!-- gpu-bench -->\\n1"}]"""
    done = subprocess.run(["jq", question], input=comments, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3"]


ITSELF = {"SUITE": "smoke", "GPU": "h100"}


@pytest.mark.parametrize(
    ("options", "called"),
    [
        ("--suite --gpu", "python -m bench calibrate --suite=smoke --gpu=h100"),
        ("--suite", "python -m bench calibrate --suite=smoke"),
        ("", "python -m bench calibrate"),
    ],
)
def test_the_machine_is_calibrated_with_the_options_that_calibrate_has(
    runner: Runner, options: str, called: str
) -> None:
    runner.program(".venv/bin/python", f'case "$*" in *--help*) echo "{options}" ;; *) echo floor ;; esac')
    done = runner.step("calibrate", "Calibrate", **ITSELF)
    assert done.returncode == 0, done.stderr
    assert runner.calls == ["python -m bench calibrate --help", called]
    assert (runner.folder / "results" / "calibrate.txt").read_text() == "floor\n"


def test_a_calibration_that_fails_is_red_and_a_tree_without_one_is_not(runner: Runner) -> None:
    runner.program(".venv/bin/python", 'case "$*" in *--help*) echo "--suite" ;; *) exit 1 ;; esac')
    assert runner.step("calibrate", "Calibrate", **ITSELF).returncode == 1
    runner.program(".venv/bin/python", "exit 2")
    done = runner.step("calibrate", "Calibrate", **ITSELF)
    assert done.returncode == 0
    assert "::notice::this tree has no calibrate" in done.stdout


@pytest.mark.parametrize(("code", "is_red"), [(0, False), (1, True), (2, True), (3, False), (4, True)])
def test_a_tree_that_is_called_worse_than_itself_is_a_false_alarm(
    runner: Runner, code: int, is_red: bool
) -> None:
    runner.program(".venv/bin/python", f"echo a table >&2; exit {code}")
    done = runner.step("calibrate", "Measure it against itself", **ITSELF)
    assert (done.returncode != 0) is is_red
    assert ("a false alarm" in done.stdout) is (code == 1)
    assert runner.calls == ["python -m bench regress HEAD --suite smoke --gpu h100 --json"]
