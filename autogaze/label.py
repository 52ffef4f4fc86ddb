"""Record greedy gazes for a gaze model to learn from.

``python -m autogaze.label --dataset synthetic --split train --count 1000 --out gazing_labels.json``

Clips are kept in ``gazing_labels.json.partial.jsonl`` as they are labelled, and a run that is started again
goes on where it was cut off. The label file is written when the run ends, or is stopped with Ctrl-C. Several
processes share the work with ``--shard 0/2`` and ``--shard 1/2``, each with a file of its own; training takes
them together as ``gazing_labels.*.json``. ``--compare-exact 2`` labels nothing, but measures on two clips
what the accelerated search loses against the exact one.
"""

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from autogaze.datasets.batches import collate, to_inputs
from autogaze.embedded import load_reconstructor
from autogaze.errors import InputError
from autogaze.labelling.agreement import agreement
from autogaze.labelling.cost import estimate_cost, roughly
from autogaze.labelling.greedy import CANDIDATES, Mode
from autogaze.labelling.maker import Clips, LabelSettings, Precision, Shard, draw_budgets, make_labels
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Split = Literal["train", "val"]

_SYNTHETIC_CLIPS = 1000
"""Synthetic clips have no end; this many are labelled unless told otherwise."""

_VIDEO_EXT = ".mp4"


Out = Annotated[Path, typer.Option(help="Label file to write or to continue.")]
Source = Annotated[Literal["synthetic", "folder"], typer.Option(help="Where clips come from.")]
Root = Annotated[str | None, typer.Option(help="With folder: folders with train/ and val/ inside.")]
OfSplit = Annotated[Split, typer.Option(help="Part of the data set.")]
Count = Annotated[
    int | None, typer.Option(min=1, help="Clips to label: 1000 synthetic ones or all videos by default.")
]
ClipLen = Annotated[int, typer.Option(min=1, help="Frames of a clip.")]
SampleRate = Annotated[
    int, typer.Option(min=1, help="With folder: one frame in so many is in a clip, as in training.")
]
VideoExt = Annotated[str, typer.Option(help="With folder: ending of video files.")]
TaskCheckpoint = Annotated[
    str | None, typer.Option(help="Reconstructor: a folder or a hub id; the embedded one if not given.")
]
OfMode = Annotated[Mode, typer.Option(help="Try every patch that is left, or the most promising.")]
Candidates = Annotated[
    int, typer.Option(min=1, help="Patches that accelerated tries at a step: better labels, more time.")
]
Group = Annotated[
    int, typer.Option(min=1, help="Patches that accelerated takes at a step; above 1, untried.")
]
GainRates = Annotated[
    str,
    typer.Option(help="Share of its score that a patch of each scale gains, as 0,0.5,1,1; learnt if empty."),
]
OfPrecision = Annotated[
    Precision, typer.Option(help="Of the reconstructor; bfloat16 is quicker where there is hardware.")
]
RatioMin = Annotated[float, typer.Option(help="Least average gazing ratio of a clip.")]
RatioMax = Annotated[float, typer.Option(help="Greatest average gazing ratio of a clip.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the gazing ratios and of synthetic clips.")]
OfShard = Annotated[str, typer.Option(help="Part of the work for this process: 0/2, 1/2.")]
BatchSize = Annotated[int, typer.Option(min=1, help="Clips searched together.")]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")]
CompareExact = Annotated[
    int | None, typer.Option(min=1, help="Label nothing; compare both modes on this many clips.")
]


@app.command()
def label(
    out: Out = Path("gazing_labels.json"),
    dataset: Source = "synthetic",
    root: Root = None,
    split: OfSplit = "train",
    count: Count = None,
    clip_len: ClipLen = 16,
    frame_sample_rate: SampleRate = 1,
    video_ext: VideoExt = _VIDEO_EXT,
    task_checkpoint: TaskCheckpoint = None,
    mode: OfMode = "accelerated",
    candidates: Candidates = CANDIDATES,
    group: Group = 1,
    gain_rates: GainRates = "",
    precision: OfPrecision = "float32",
    ratio_min: RatioMin = 0.02,
    ratio_max: RatioMax = 0.2,
    seed: Seed = 0,
    shard: OfShard = "0/1",
    batch_size: BatchSize = 4,
    device: Device = "cpu",
    compare_exact: CompareExact = None,
) -> None:
    """Record greedy gazes for a gaze model to learn from."""
    settings = LabelSettings(
        mode, candidates, group, _numbers(gain_rates), precision, seed, ratio_min, ratio_max
    )
    part = Shard.parse(shard)
    target = _device(device)
    task, trained = load_reconstructor(task_checkpoint)
    clips, names = _clips(
        dataset, root, split, count, clip_len, frame_sample_rate, video_ext, task.config.image_size, seed
    )
    console = Console(stderr=True)
    if not trained:
        console.print("! untrained reconstructor: its gazes mean nothing", soft_wrap=True)
    if compare_exact is not None:
        print(comparison(task.to(target), clips, settings, min(compare_exact, len(names))))
        return
    console.print(
        f"{estimate_cost(task, clips, names, out, settings, part, batch_size, target)}", soft_wrap=True
    )
    make = partial(make_labels, task, clips, names, out, settings, part, batch_size, target)
    labels = _with_a_bar(make, console) if console.is_terminal else make(progress=PlainLines(console))
    print(f"{len(labels)} labelled clips in {part.file(out)}")


def _with_a_bar(make: Callable[..., dict[str, Any]], console: Console) -> dict[str, Any]:
    """Return what ``make`` gives, and show its ``progress``."""
    columns = (TextColumn("labels"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        row = bar.add_task("labels", total=None)
        return make(progress=lambda done, total: bar.update(row, completed=done, total=total))


class PlainLines:
    """Progress for logs and pipes: a line now and then, with the share that is done and the time left."""

    def __init__(
        self, console: Console, every_seconds: float = 30.0, clock: Callable[[], float] = time.monotonic
    ):
        self._console, self._every, self._clock = console, every_seconds, clock
        self._said = clock()
        self._first: tuple[float, float] | None = None
        """When this was first told how much is done, and how much that was."""
        self._complete = False

    def __call__(self, done: float, total: int) -> None:
        now = self._clock()
        began, before = self._first = self._first or (now, done)
        if self._complete or (now - self._said < self._every and done < total):
            return
        self._said, self._complete = now, done >= total
        rate = (done - before) / (now - began) if now > began else 0.0
        left = f", about {roughly((total - done) / rate)} left" if rate and done < total else ""
        self._console.print(f"labels: {done:.1f} of {total} clips{left}", soft_wrap=True, highlight=False)


def comparison(task: VideoMAEReconstruction, clips: Clips, settings: LabelSettings, count: int) -> str:
    """Search the first ``count`` clips both ways and return a line on how well the results agree."""
    batch = collate([clips[number] for number in range(count)])
    device = next(task.parameters()).device
    video = to_inputs(batch, device)["video_for_task"]
    patches = task.config.grid.patches_per_frame
    budgets = [draw_budgets(path, clips.clip_len, settings, patches) for path in batch["video_path"]]
    with settings.autocast(device):
        found = agreement(task, video, budgets, settings.candidates, settings.group, settings.gain_rates)
    how = f"{settings.candidates} candidates" if settings.group == 1 else f"groups of {settings.group}"
    return (
        f"{sum(map(sum, budgets))} gazes in {len(budgets)} clips, {how}: "
        f"{found.same_picks:.1%} of the exact search's patches, loss {found.loss_ratio:.4f} times its loss, "
        f"in {found.accelerated_seconds:.1f} s instead of {found.exact_seconds:.1f} s"
    )


def _clips(
    dataset: str,
    root: str | None,
    split: Split,
    count: int | None,
    clip_len: int,
    frame_sample_rate: int,
    video_ext: str,
    size: int,
    seed: int,
) -> tuple[Clips, list[str]]:
    """Return a data set, and the paths of the clips to label."""
    if dataset == "synthetic":
        from autogaze.datasets.synthetic import SyntheticVideos

        if root is not None or frame_sample_rate != 1 or video_ext != _VIDEO_EXT:
            raise InputError(
                "--root, --frame-sample-rate and --video-ext are for folders of videos, and --dataset "
                "synthetic has none; add --dataset folder"
            )
        count = count or _SYNTHETIC_CLIPS
        synthetic = SyntheticVideos(split, seed=seed, clip_len=clip_len, size=size, length=count)
        return synthetic, [synthetic.path(number) for number in range(count)]
    if root is None:
        raise InputError(
            "--dataset folder needs --root: folders with train/ and val/ inside, joined by commas"
        )
    from autogaze.datasets.video_folder import VideoFolder

    folder = VideoFolder(
        root,
        split,
        clip_len=clip_len,
        frame_sample_rate=frame_sample_rate,
        video_ext=video_ext,
        size=size,
        seed=seed,
    )
    return folder, [str(video) for video in folder.videos[:count]]


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise InputError(f"gain rates '{text}' are not numbers joined by commas, such as 0,0.5,1,1") from None


def _device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device '{name}' cannot be used here ({str(error).splitlines()[0]}); name cpu, or a device that "
            "torch finds"
        ) from None
    return device


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; input that cannot be used is a sentence on standard error and exit code 2."""
    try:
        app(args=arguments, prog_name="python -m autogaze.label")
    except InputError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
