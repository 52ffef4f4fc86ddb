"""What the README shows works."""

import re
import subprocess
from pathlib import Path

import pytest
import typer

from autogaze import label
from autogaze.train import compose
from bench.make_targets import check
from suites.loader import suite_names

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
COMMANDS = re.findall(r"^ *(make [^#\n`]*)", README + "\n" + GUIDES, flags=re.MULTILINE)


def test_the_python_examples_run_one_after_another(capsys):
    namespace: dict[str, object] = {}
    for example in PYTHON:
        exec(compile(example, "README.md", "exec"), namespace)
    printed = capsys.readouterr().out
    assert "torch.Size([1, 416])" in printed
    assert namespace["gaze"].gazes_each_frame().tolist() == [[26]]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_is_a_target_with_variables_it_knows(command):
    target = command.split()[1]
    assert re.search(rf"^{target}:", MAKEFILE, flags=re.MULTILINE)
    check([target], re.findall(r"\b([A-Z_]+)=", command))


def training_commands() -> list[list[str]]:
    """Return the words of each training command that the README shows, its variables filled in."""
    (block,) = re.findall(r"```\n(few=.*?)```", README, flags=re.DOTALL)
    (few,) = re.findall(r"^few=\((.*?)\)", block, flags=re.MULTILINE)
    (task,) = re.findall(r"^task=(.*)$", block, flags=re.MULTILINE)
    filled = (
        block.replace("\\\n", " ").replace('"${few[@]}"', few).replace("$task", task).replace("$split", "val")
    )
    lines = [line.partition(" # ")[0].split() for line in filled.splitlines() if " -m autogaze." in line]
    return [line[line.index("-m") + 1 :] for line in lines]


@pytest.mark.parametrize("command", training_commands(), ids=lambda words: " ".join(words[:3]))
def test_training_commands_have_names_and_options_that_there_are(command):
    module, *words = command
    if module == "autogaze.label":
        known = {parameter.name for parameter in typer.main.get_command(label.app).params}
        assert {word[2:].replace("-", "_") for word in words if word.startswith("--")} <= known
    else:
        assert words[0] == "--config-name"
        compose(words[1], [word.replace("<folder>", "folder").strip('"') for word in words[2:]])


def test_every_suite_is_listed():
    assert set(re.findall(r"^\| `(\w+)` \|", README, flags=re.MULTILINE)) == set(suite_names())


def test_make_prints_its_targets():
    listed = subprocess.run(
        ["make", "-C", str(ROOT), "help"], capture_output=True, text=True, check=True
    ).stdout
    for target in ("bench", "compare", "doctor", "evaluate", "report", "test"):
        assert re.search(rf"^{target}\s", listed, flags=re.MULTILINE), target
