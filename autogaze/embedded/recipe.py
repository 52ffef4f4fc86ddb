"""Make the embedded pair anew: ``python -m autogaze.embedded.recipe [--out FOLDER] [--scale 1] [--show]``.

Train the reconstructor, let a greedy search label training and validation clips with it, train the gaze model
on the labels, label and train once more, put both models into one folder. Each step goes on where it was cut
off. ``--processes N`` shares the work: a core of its own for each process is quickest. ``--scale 0.01`` makes
a hundredth of the data go through all of it, to see that it works; ``--show`` prints the commands and runs
nothing. What is shipped was made with them as ``MODEL_CARD.md`` tells.
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
LABELLED_CLIPS = (560, 400)
"""In the first and in the second round of the gaze model."""
NO_RETURN = (0, 30)
"""Gazes for which the labels of a round do not return to a patch."""
BATCH = 8
"""Clips of an optimizer step; none is smaller at any scale."""

Step = list[list[str]]
"""Commands that run side by side."""


def steps(out: Path, scale: float, processes: int = 1) -> list[Step]:
    """Return the recipe's commands; ``scale`` is the share of the data that goes through them."""
    if not 0 < scale <= 1:
        raise InputError(f"scale {scale} must be above 0 and at most 1, the whole recipe")
    if not 1 <= processes <= BATCH:
        raise InputError(f"processes is {processes}: 1 to {BATCH} can share batches of {BATCH} clips")
    task = out / "embedded_reconstructor" / "checkpoint_latest_task"
    gaze = [out / name / "checkpoint_latest_gaze" for name in ("embedded_gaze", "embedded_gaze_2")]

    def share(clips: int) -> int:
        return max(BATCH, round(clips * scale))

    def train(name: str, *overrides: str) -> Step:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
        module = [*(launcher if processes > 1 else []), "autogaze.train"]
        return [_python(*module, f"trainer.logdir={out}", "--config-name", name, *overrides)]

    def label(number: int, split: str, clips: int) -> Step:
        file = out / f"gazing_labels_{number + 1}_{split}.json"
        asked = ("--task-checkpoint", str(task), "--out", str(file), "--count", str(clips))
        search = ("--group", "5", "--no-return", str(NO_RETURN[number]), "--ratio-max", "0.35")
        how = ("--precision", "bfloat16", "--batch-size", str(BATCH))
        parts = [("--shard", f"{part}/{processes}") for part in range(processes)]
        return [_python("autogaze.label", "--split", split, *asked, *search, *how, *part) for part in parts]

    def learn(number: int, name: str, *overrides: str) -> list[Step]:
        clips = share(LABELLED_CLIPS[number])
        files = f"{out}/gazing_labels_{number + 1}_{{}}{'' if processes == 1 else '.*'}.json"
        paths = [f"dataset.gt_gazing_pos_paths.{split}={files.format(split)}" for split in ("train", "val")]
        return [
            label(number, "train", clips),
            label(number, "val", 2 * BATCH),
            train(name, f"dataset.train_length={clips}", *paths, *overrides),
        ]

    models = ("--gaze", str(gaze[1]), "--task", str(task), "--out", str(out / "embedded"))
    return [
        train("embedded_reconstructor", f"dataset.train_length={share(RECONSTRUCTOR_CLIPS)}"),
        *learn(0, "embedded_gaze"),
        *learn(1, "embedded_gaze_2", f"trainer.gaze_weights={gaze[0]}"),
        [_python("autogaze.embedded.export", *models)],
    ]


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _environment(processes: int) -> dict[str, str]:
    """Return the environment of the commands; what the user has set counts.

    glibc gives large tensors back to the system as soon as they are freed, and fetching them again, page by
    page, takes a quarter of the time; jemalloc, where it is installed, keeps them for a while.
    """
    jemalloc = ctypes.util.find_library("jemalloc")
    return {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)),
        **({} if jemalloc is None else {"LD_PRELOAD": jemalloc}),
        "MALLOC_CONF": "dirty_decay_ms:20000,muzzy_decay_ms:20000",
    } | os.environ


def _run(step: Step, processes: int) -> int:
    """Run commands side by side and return the exit code of the first that failed, or 0."""
    running = [subprocess.Popen(command, env=_environment(processes)) for command in step]
    return next((code for code in [each.wait() for each in running] if code), 0)


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
    for step in recipe:
        for command in step:
            print("$", shlex.join(["python", *command[1:]]), flush=True)
        if asked.show:
            continue
        started = time.monotonic()
        code = _run(step, asked.processes)
        if code:
            return code
        print(f"took {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
