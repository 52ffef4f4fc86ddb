"""Base of a contest: another commit of this project, checked out apart, with the packages it needs."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autogaze.errors import InputError
from bench.turns.contest import Tree

ROOT = Path(__file__).parents[2]
"""The tree that this is part of."""

_PINS = ("constraints.txt", "pyproject.toml")
"""Files that decide which packages a tree runs with; where they agree, one environment serves both."""
_MARK = Path("bench", "turns", "contest.py")
"""What only a tree that can take turns has."""
_SETUP_SECONDS = 1800.0


def head_tree() -> Tree:
    """Return the tree that this is part of, as it is, with the interpreter that runs this."""
    return Tree(ROOT, sys.executable)


@contextmanager
def base_tree(base: str) -> Iterator[Tree]:
    """Give the tree of ``base``: a commit by any name that git knows, which is checked out into a temporary
    folder, or the folder of a checkout.

    Its environment is set up unless it asks for the packages that this one has. Raises ``InputError`` for a
    base that does not exist, has changes that are not committed, is too old to take turns, or cannot be set
    up.
    """
    if Path(base, "bench").is_dir():
        folder = Path(base).resolve()
        if _git(folder, "status", "--porcelain"):
            raise InputError(f"base {base} has changes that are not committed: commit them, or name a commit")
        yield _ready(folder, base)
        return
    commit = _commit(base)
    with tempfile.TemporaryDirectory(prefix="base-") as parent:
        folder = Path(parent, "base")
        _git(ROOT, "worktree", "add", "--detach", str(folder), commit)
        try:
            yield _ready(folder, base)
        finally:
            _git(ROOT, "worktree", "remove", "--force", str(folder))


def _commit(base: str) -> str:
    _git(ROOT, "rev-parse", "--git-dir")
    try:
        return _git(ROOT, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    except InputError as error:
        raise InputError(
            f"base {base} is no commit of this repository: name a branch, a tag or a hash"
        ) from error


def _ready(folder: Path, base: str) -> Tree:
    """Return the tree in ``folder`` with an interpreter that has what it needs."""
    if not (folder / _MARK).is_file():
        raise InputError(
            f"base {base} is from before trees could take turns: measure it and this tree with make bench, "
            "and compare the runs with make compare"
        )
    if all((folder / name).read_bytes() == (ROOT / name).read_bytes() for name in _PINS):
        return Tree(folder, sys.executable)
    command = ["make", "--no-print-directory", "-C", str(folder), "setup", f"PYTHON={sys.executable}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SETUP_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(
            f"base {base} cannot be set up ({error}): try make setup in a checkout of it"
        ) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise InputError(f"base {base} cannot be set up ({lines[-1]}): try make setup in a checkout of it")
    return Tree(folder, str(folder / ".venv" / "bin" / "python"))


def _git(folder: Path, *arguments: str) -> str:
    """Return what git prints; raises ``InputError`` where there is no git, no repository, or it fails."""
    program = shutil.which("git")
    if program is None:
        raise InputError(
            "a base needs git, which is not installed: install it, or compare two runs with make compare"
        )
    done = subprocess.run([program, "-C", str(folder), *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines()
        if any("not a git repository" in line for line in said):
            raise InputError(f"{folder} is not a git repository: a base can only be checked out of one")
        raise InputError(
            f"git {arguments[0]} failed ({said[-1] if said else f'exit code {done.returncode}'})"
        )
    return done.stdout.strip()
