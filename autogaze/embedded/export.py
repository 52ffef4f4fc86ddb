"""Write trained models as the package ships them: ``python -m autogaze.embedded.export --gaze A --task B``.

``A`` and ``B`` are checkpoint folders of a gaze model and of a reconstructor; one may be left out. They are
written in half precision, in the layout of hub checkpoints, into the folders ``gaze`` and ``reconstructor``
of ``--out``: by default where the package looks for them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from autogaze.embedded import RECONSTRUCTOR_FOLDER, gaze_checkpoint
from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

LARGEST_BYTES = 32 * 2**20
"""What the pair may add to a clone of the repository."""
_BYTES_OF_A_NUMBER = 2


def export(gaze: Path | None, task: Path | None, out: Path) -> int:
    """Write the models below ``out``; return the bytes of their weights.

    Raises ``InputError`` for folders that hold no such model, and for models too large to be shipped.
    """
    gaze_model = None if gaze is None else AutoGaze.from_pretrained(gaze_checkpoint(gaze))
    reconstructor = None if task is None else VideoMAEReconstruction.from_checkpoint(task)
    size = _bytes_in_half(gaze_model) + _bytes_in_half(reconstructor)
    if size > LARGEST_BYTES:
        raise InputError(
            f"the models take {size / 2**20:.0f} MiB in half precision, and at most "
            f"{LARGEST_BYTES / 2**20:.0f} may be shipped; train a smaller reconstructor"
        )
    try:
        _write(gaze_model, reconstructor, out)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written: {error.strerror or error}; free space, or name another folder in --out"
        ) from error
    return size


def _write(gaze: AutoGaze | None, reconstructor: VideoMAEReconstruction | None, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if gaze is not None:
        gaze.config.name_or_path = ""  # where it lay is nobody's business
        gaze.half().save_pretrained(out / "gaze")
        AutoGazeImageProcessor.of_checkpoint(gaze.arch.image_size).save_pretrained(out / "gaze")
    if reconstructor is not None:
        reconstructor.half().save(out / RECONSTRUCTOR_FOLDER.name)


def _bytes_in_half(model: nn.Module | None) -> int:
    weights = [] if model is None else list(model.parameters())
    return sum(_BYTES_OF_A_NUMBER * tensor.numel() for tensor in weights)


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code: 0 written, 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m autogaze.embedded.export", description=__doc__)
    parser.add_argument("--gaze", type=Path, help="folder of the gaze model")
    parser.add_argument("--task", type=Path, help="folder of the reconstructor")
    parser.add_argument(
        "--out", type=Path, default=RECONSTRUCTOR_FOLDER.parent, help="the package by default"
    )
    asked = parser.parse_args(arguments)
    if asked.gaze is None and asked.task is None:
        parser.error("name at least one of --gaze and --task")
    try:
        size = export(asked.gaze, asked.task, asked.out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{size / 2**20:.1f} MiB of weights in {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
