"""``python -m bench``, with the Python that is there: a bare checkout needs no installation."""

import sys
from importlib.util import find_spec

from autogaze.errors import InputError
from bench import wheels

NEEDED = ("numpy", "pydantic", "rich", "typer")
"""Packages that the command line itself imports, of which a machine that has torch may lack some."""


def missing() -> str | None:
    """Return the sentence that says which of :data:`NEEDED` cannot be found, and the cure; None where all
    are there."""
    names = [name for name in NEEDED if find_spec(name) is None]
    if not names:
        return None
    packages = "the package " if len(names) == 1 else "the packages "
    return (
        f"bench needs {packages}{' and '.join(names)}, not found by {sys.executable}: run make setup, "
        f"pip install {' '.join(names)}, or put a folder of unpacked wheels on PYTHONPATH; gpu-check takes "
        f"them from a folder of wheels with --wheels, which {wheels.download_command(names)} fills"
    )


def bring_packages() -> None:
    """Take what is not there from the folder of wheels that the command line names, if any; end with a
    sentence where something is missing then."""
    sentence: str | None
    try:
        if folder := wheels.folder_in(sys.argv[1:]):
            wheels.use(folder)
        sentence = missing()
    except InputError as error:
        sentence = str(error)
    if sentence:
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    bring_packages()

    from bench.cli import main

    main()
