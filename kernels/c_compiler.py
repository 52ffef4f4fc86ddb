"""C compiler of native kernels: which one is here, and its version; needs no torch."""

import os
import shlex
import shutil
import subprocess


class BuildError(RuntimeError):
    """The native step cannot be built here; the message says why, and what would do."""


def find_compiler() -> list[str]:
    """Return the compiler's command: what CC names, or the first of cc, gcc and clang.

    Raises ``BuildError`` with the cure where there is none.
    """
    if os.name != "posix":
        raise BuildError("is for Linux and macOS")
    named = os.environ.get("CC")
    if named is not None:
        try:
            command = shlex.split(named)
        except ValueError:  # a quotation without an end
            command = []
        if not command or shutil.which(command[0]) is None:
            raise BuildError(
                f"needs a C compiler and CC names '{named}', which is not there; unset or correct CC"
            )
        return command
    for name in ("cc", "gcc", "clang"):
        if (found := shutil.which(name)) is not None:
            return [found]
    raise BuildError("needs a C compiler and there is none; install gcc or clang, or set CC")


def compiler_version() -> str | None:
    """Return the first line of what the compiler says of itself; None where there is none to ask."""
    try:
        done = subprocess.run([*find_compiler(), "--version"], capture_output=True, text=True, timeout=30)
    except (BuildError, OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.splitlines()[0] if done.returncode == 0 and done.stdout else None
