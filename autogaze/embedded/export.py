"""Put a trained pair into the package: ``python -m autogaze.embedded.export GAZE TASK [--out FOLDER]``.

``GAZE`` and ``TASK`` are checkpoint folders of a gaze model and of a reconstructor. Both are written in half
precision, in the layout of hub checkpoints, into the folders ``gaze`` and ``reconstructor``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from autogaze.embedded import gaze_model, reconstructor
from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

LARGEST_BYTES = 32 * 2**20
"""What a clone of the repository may grow by."""


def export(gaze: Path, task: Path, out: Path) -> int:
    """Write both models below ``out``; return the bytes of their weights.

    Raises ``InputError`` for folders that hold no such model, and for a pair that is too large to ship.
    """
    chosen, painted = AutoGaze.from_pretrained(gaze), VideoMAEReconstruction.from_checkpoint(task)
    size = 2 * sum(tensor.numel() for model in (chosen, painted) for tensor in model.state_dict().values())
    if size > LARGEST_BYTES:
        raise InputError(
            f"the pair takes {size / 2**20:.0f} MiB in half precision and at most {LARGEST_BYTES / 2**20:.0f} "
            "may be shipped; train a smaller reconstructor"
        )
    chosen.half().save_pretrained(out / gaze_model.FOLDER.name)
    AutoGazeImageProcessor().save_pretrained(out / gaze_model.FOLDER.name)
    painted.half().save(out / reconstructor.FOLDER.name)
    return size


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 written, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m autogaze.embedded.export", description=__doc__)
    parser.add_argument("gaze", type=Path, help="folder of the gaze model")
    parser.add_argument("task", type=Path, help="folder of the reconstructor")
    parser.add_argument("--out", type=Path, default=gaze_model.FOLDER.parent, help="the package by default")
    asked = parser.parse_args(arguments)
    try:
        size = export(asked.gaze, asked.task, asked.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{size / 2**20:.1f} MiB of weights in {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
