"""Make the embedded pair anew: ``python -m autogaze.embedded.recipe [--out FOLDER] [--scale 1] [--show]``.

Five commands: train the reconstructor, let a greedy search label training and validation clips with it, train
the gaze model on the labels, put both into one folder. Each goes on where it was cut off. ``--scale 0.01``
makes a hundredth of the data go through all of it, to see that it works; ``--show`` prints the commands and
runs nothing. What is shipped was made with them as ``MODEL_CARD.md`` tells.
"""

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from autogaze.errors import InputError

RECONSTRUCTOR_CLIPS = 6800
LABELLED_CLIPS = 240
BATCH = 8
"""Clips of an optimizer step; none is smaller at any scale."""


def commands(out: Path, scale: float) -> list[list[str]]:
    """Return the recipe's commands; ``scale`` is the share of the data that goes through them."""
    if not 0 < scale <= 1:
        raise InputError(f"scale {scale} must be above 0 and at most 1, the whole recipe")
    labels = {split: out / f"gazing_labels_{split}.json" for split in ("train", "val")}
    task = out / "embedded_reconstructor" / "checkpoint_latest_task"
    gaze = out / "embedded_gaze" / "checkpoint_latest_gaze"

    def share(clips: int) -> int:
        return max(BATCH, round(clips * scale))

    def program(module: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", module, *arguments]

    train = ("autogaze.train", f"trainer.logdir={out}", "--config-name")
    return [
        program(*train, "embedded_reconstructor", f"dataset.train_length={share(RECONSTRUCTOR_CLIPS)}"),
        *(
            program(
                "autogaze.label",
                *("--split", split, "--task-checkpoint", str(task), "--out", str(labels[split])),
                *("--count", str(clips), "--candidates", "1", "--batch-size", str(BATCH)),
            )
            for split, clips in (("train", share(LABELLED_CLIPS)), ("val", BATCH))
        ),
        program(
            *train,
            "embedded_gaze",
            f"dataset.train_length={share(LABELLED_CLIPS)}",
            *(f"dataset.gt_gazing_pos_paths.{split}={file}" for split, file in labels.items()),
        ),
        program(
            "autogaze.embedded.export",
            *("--gaze", str(gaze), "--task", str(task), "--out", str(out / "embedded")),
        ),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: that of the first command that failed, or 0; 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m autogaze.embedded.recipe", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("exps"), help="where everything is written")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the data")
    parser.add_argument("--show", action="store_true", help="print the commands and run nothing")
    asked = parser.parse_args(arguments)
    try:
        steps = commands(asked.out, asked.scale)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for step in steps:
        print("$", shlex.join(["python", *step[1:]]), flush=True)
        if asked.show:
            continue
        started = time.monotonic()
        code = subprocess.run(step).returncode
        if code:
            return code
        print(f"took {time.monotonic() - started:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
