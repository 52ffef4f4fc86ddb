"""Make the embedded pair anew: ``python -m autogaze.embedded.recipe [--out FOLDER] [--scale 1] [--show]``.

Train the reconstructor, teach the gaze model with it in four rounds, put both models into one folder. Each
step goes on where it was cut off. ``--processes N`` shares the work: a core of its own for each process is
quickest. ``--scale 0.01`` makes a hundredth of the data go through all of it, to see that it works;
``--show`` prints the commands and runs nothing. What is shipped was made with them as ``MODEL_CARD.md``
tells.
"""

import argparse
import ctypes.util
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from autogaze.errors import InputError

RECONSTRUCTOR_CLIPS = 12_000
GAZE_CLIPS = {
    "embedded_gaze": 2_000,
    "embedded_gaze_2": 5_120,
    "embedded_gaze_3": 768,
    "embedded_gaze_4": 1_280,
}
"""Clips by the configuration of each round of the gaze model: long ones in the third."""
FEWEST_CLIPS = 8
"""At any scale: an optimizer step of the reconstructor."""
PROCESSES = (1, 2, 4)
"""How many can share an optimizer step: of the reconstructor it has 8 clips, of the gaze model 4."""


def steps(out: Path, scale: float, processes: int = 1) -> list[list[str]]:
    """Return the recipe's commands; ``scale`` is the share of the data that goes through them."""
    if not 0 < scale <= 1:
        raise InputError(f"scale {scale} must be above 0 and at most 1, the whole recipe")
    if processes not in PROCESSES:
        raise InputError(
            f"processes is {processes}: the clips of a batch are shared by {', '.join(map(str, PROCESSES))}"
        )

    def train(name: str, clips: int, *overrides: str) -> list[str]:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        module = [*(launcher if processes > 1 else []), "autogaze.train"]
        length = f"dataset.train_length={max(FEWEST_CLIPS, round(clips * scale))}"
        return _python(*module, f"trainer.logdir={out}", "--config-name", name, length, *overrides)

    task = out / "embedded_reconstructor" / "checkpoint_latest_task"
    commands, before = [train("embedded_reconstructor", RECONSTRUCTOR_CLIPS)], list[str]()
    for name, clips in GAZE_CLIPS.items():
        commands.append(train(name, clips, f"trainer.task_weights={task}", *before))
        gaze = out / name / "checkpoint_latest_gaze"
        before = [f"trainer.gaze_weights={gaze}"]
    models = ("--gaze", str(gaze), "--task", str(task), "--out", str(out / "embedded"))
    return [*commands, _python("autogaze.embedded.export", *models)]


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _environment(processes: int) -> dict[str, str]:
    """Return the environment of the commands; what the user has set counts.

    glibc gives large tensors back to the system as soon as they are freed, and fetching them again, page by
    page, takes a quarter of the time; jemalloc, where it is installed, keeps them for a while. It must not
    keep them for good: every video has other lengths, and memory that is kept for all of them runs out.
    """
    jemalloc = ctypes.util.find_library("jemalloc")
    return {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        **({} if jemalloc is None else {"LD_PRELOAD": jemalloc}),
        "MALLOC_CONF": "dirty_decay_ms:5000,muzzy_decay_ms:5000",
    } | os.environ


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: that of the first command that failed, or 0; 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m autogaze.embedded.recipe", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("exps"), help="where everything is written")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data")
    parser.add_argument("--processes", type=int, default=1, help="processes that share the work")
    parser.add_argument("--show", action="store_true", help="print the commands and run nothing")
    asked = parser.parse_args(arguments)
    try:
        recipe = steps(asked.out, asked.scale, asked.processes)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for command in recipe:
        print("$", shlex.join(["python", *command[1:]]), flush=True)
        if asked.show:
            continue
        started = time.monotonic()
        code = subprocess.run(command, env=_environment(asked.processes), check=False).returncode
        if code:
            return code
        print(f"took {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
