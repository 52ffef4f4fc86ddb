"""Options of the command line that more than one line would need, each declared once."""

from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

Suite = Annotated[str, Option(help="Name of a suite, or path of a TOML file.")]
Gpu = Annotated[str, Option(help="auto, cpu, or names such as h100,rtx3090: one run each.")]
Attention = Annotated[str | None, Option(help="Attention backends, comma separated.")]
Chunk = Annotated[str | None, Option(help="Frames gazed at together, comma separated.")]
Dtype = Annotated[str | None, Option(help="float32, bfloat16, float16, comma separated.")]
Setting = Annotated[str | None, Option(help="Gaze settings such as ratio_0.25,task_0.70.")]
Batch = Annotated[str | None, Option(help="Videos at a time, comma separated.")]
Axes = Annotated[
    list[str] | None, Option("--axis", help="Any axis of the suite, as operation=decode_step; see axes.")
]
Engine = Annotated[str | None, Option(help="auto, eager, native, graph, triton, released, comma separated.")]
Video = Annotated[str | None, Option(help="Video file; the project's own clip if not given.")]
Checkpoint = Annotated[str | None, Option(help="Gaze model: a folder or a hub id.")]
TaskCheckpoint = Annotated[str | None, Option(help="Reconstructor: a folder or a hub id.")]
Revision = Annotated[str | None, Option(help="Revision of the gaze model on the hub.")]
TaskRevision = Annotated[str | None, Option(help="Revision of the reconstructor on the hub.")]
Upstream = Annotated[str | None, Option(help="Checkout of the released code, to be measured beside ours.")]
UpstreamPython = Annotated[
    str | None, Option(help="The interpreter that has what it requires; this one if not given.")
]
Geometry = Annotated[
    Literal["square", "center_crop"], Option(help="How video that is not square becomes so.")
]
Seed = Annotated[int, Option(help="Seed of anything random.")]
Samples = Annotated[int | None, Option(min=1, help="Timed repetitions a cell, at least.")]
TimeBudget = Annotated[float | None, Option(min=0.0, help="Seconds of timed repetitions a cell.")]
Profile = Annotated[
    bool, Option("--profile", help="One more repetition a cell, watched by a profiler: a trace, and figures.")
]
Out = Annotated[Path, Option(help="Folder that the run's folder is made in.")]
Plan = Annotated[bool, Option("--plan", help="Print the cells and what they cost; measure nothing.")]
Resume = Annotated[str | None, Option(help="Finish this run: a folder, latest, or a part of its id.")]
Retry = Annotated[bool, Option("--retry", help="With --resume: failures and timeouts again.")]

OutputDir = Annotated[Path, Option(help="Folder for tables, plots and pictures.")]
ClipLength = Annotated[int, Option(min=1, help="Frames of a clip.")]
ClipStarts = Annotated[str, Option(help="First frames, such as 0,16; else one clip on another.")]
MaxClips = Annotated[int, Option(min=1, help="Most clips to evaluate.")]
VizClips = Annotated[int, Option(min=0, help="Clips to draw pictures of.")]
AttentionMode = Annotated[str, Option(help="Attention backend.")]
EvaluationDevice = Annotated[str, Option(help="As GPU=: auto, cpu, or a name.")]
GazeModel = Annotated[str | None, Option(help="Gaze model: a folder or a hub id such as nvidia/AutoGaze.")]
GazeRevision = Annotated[str | None, Option(help="Its revision; else the pinned one.")]
TaskRepo = Annotated[str | None, Option(help="Reconstructor on the hub, such as bfshi/VideoMAE_AutoGaze.")]
TaskAssetRevision = Annotated[str | None, Option(help="Its revision; else the pinned one.")]
TaskFolder = Annotated[Path | None, Option(help="Reconstructor in a folder.")]

RunA = Annotated[str, Argument(help="The run to compare with: a folder, latest~1, or a part of its id.")]
RunB = Annotated[str, Argument(help="The run to judge, named likewise.")]
Results = Annotated[Path, Option(help="Folder that runs are looked for in.")]
Json = Annotated[bool, Option("--json", help="One JSON document on standard output; all else on the other.")]
Tolerance = Annotated[float, Option(help="Share by which time or memory may grow.")]
Allow = Annotated[list[str] | None, Option(help="A difference to accept: driver, threads ...")]

Runs = Annotated[list[str], Argument(help="Runs of any machine and GPU: folders, latest, or parts of ids.")]
OfSuite = Annotated[str, Argument(help="Name of a suite, or path of a TOML file.")]
ReportOut = Annotated[Path, Option(help="Folder to write the report into.")]

BenchmarkFile = Annotated[Path, Argument(help="JSON file that pytest-benchmark wrote: --benchmark-json.")]

CheckGpu = Annotated[str, Option(help="auto, or a name such as h100; cpu to try the steps out.")]
CheckOut = Annotated[Path, Option(help="Folder that the check's folder is made in.")]
CheckWheels = Annotated[
    Path | None, Option("--wheels", help="Folder of wheels, for packages that this Python lacks.")
]
CheckLimit = Annotated[float, Option(min=1.0, help="Seconds for all of it; each step has its share.")]

RESULTS = Path("results")
