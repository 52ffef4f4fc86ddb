"""The child's end of :mod:`autogaze.child_process`: ties its process to the parent's life and runs a program.

Started by its path, by any interpreter, for programs of other projects too: nothing of this one is imported.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel end this process when ``parent`` dies: an orphan would spoil the next measurement, and
    amid its work it does not hear its input end."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It was gone before it could be tied to.
        os._exit(1)


def main() -> None:
    """Run ``start.py PARENT PROGRAM [ARGUMENT...]``: see :class:`autogaze.child_process.ChildProcess`."""
    parent, program, *arguments = sys.argv[1:]
    die_with_parent(int(parent))
    # Copies are not inherited by what the program starts; that finds no input, and prints where it prints.
    commands, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.path[0] == os.path.dirname(os.path.realpath(__file__)):
        sys.path[0] = os.getcwd()  # As python -m has it; this folder is nobody's to import from.
    sys.argv = [program, str(commands), str(answers), *arguments]
    if program.endswith(".py"):
        runpy.run_path(program, run_name="__main__")
    else:
        runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
