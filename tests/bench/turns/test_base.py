import shutil
import subprocess
from pathlib import Path

import pytest

from autogaze.errors import InputError
from bench.turns import base as bases
from bench.turns.base import base_tree
from bench.turns.cells import definition

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of a tree that could not take turns, and one that can."""
    folder = tmp_path / "repository"
    (folder / "bench" / "turns").mkdir(parents=True)
    for name in ("constraints.txt", "pyproject.toml"):
        shutil.copy(bases.ROOT / name, folder / name)
    git(folder, "init", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "before")
    git(folder, "tag", "before")
    (folder / "bench" / "turns" / "contest.py").touch()
    git(folder, "add", ".")
    git(folder, "commit", "-m", "after")
    monkeypatch.setattr(bases, "ROOT", folder)
    return folder


def test_a_commit_is_checked_out_apart_and_cleared_away(repository: Path) -> None:
    with base_tree("main") as tree:
        assert (tree.folder / "bench" / "turns" / "contest.py").exists()
        assert tree.folder != repository
        assert tree.python == bases.head_tree().python
    assert not tree.folder.exists()
    listed = subprocess.run(
        ["git", "-C", str(repository), "worktree", "list"], capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_a_folder_is_used_as_it_is_unless_it_has_changes(repository: Path) -> None:
    with base_tree(str(repository)) as tree:
        assert tree.folder == repository
    (repository / "bench" / "turns" / "more.py").touch()
    with pytest.raises(InputError, match="changes that are not committed"), base_tree(str(repository)):
        pass


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("nowhere", "base nowhere is no commit of this repository"),
        ("before", "base before is from before trees could take turns: measure it"),
    ],
)
def test_a_base_that_cannot_be_measured_is_refused(repository: Path, base: str, words: str) -> None:
    with pytest.raises(InputError, match=words), base_tree(base):
        pass


def test_a_base_with_other_pins_gets_an_environment_or_a_refusal(repository: Path) -> None:
    (repository / "constraints.txt").write_text("torch==0.0\n", encoding="utf-8")
    (repository / "Makefile").write_text("setup:\n\t@echo no such torch >&2; exit 1\n", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "-m", "other pins")
    shutil.copy(Path(bases.__file__).parents[2] / "constraints.txt", repository)
    with pytest.raises(InputError, match=r"base main cannot be set up \(.*"), base_tree("main"):
        pass


def test_without_git_a_sentence_says_so(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="needs git, which is not installed"), base_tree("main"):
        pass


def test_outside_a_repository_there_is_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bases, "ROOT", tmp_path)
    with pytest.raises(InputError, match="is not a git repository"), base_tree("main"):
        pass


def test_a_tree_is_asked_for_its_own_cells() -> None:
    found = definition(bases.head_tree(), "smoke", {"chunk": ["4"]})
    assert found.version >= 1
    assert {cell.axes["chunk"] for cell, _ in found.targets.values()} == {4}
    with pytest.raises(InputError, match=r"suite smoky cannot be had from .*smoke"):
        definition(bases.head_tree(), "smoky", {})
