"""Foresight of the workloads on video: what their parts take, from the configurations of their models alone.

Everything is counted from shapes by the counters that count the work of a repetition when it is done.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suites.outlook import Effort, Efforts, Outlook
from suites.settings import GazeSetting, parse_setting
from suites.workload import AxisValue, Inputs

if TYPE_CHECKING:
    from autogaze.models.autogaze.configuration_autogaze import Architecture
    from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig

_BLOCK_OPERATIONS, _LAYER_OPERATIONS = 30, 25
"""Operators that the eager decoder calls in a step, and in each layer of it."""
_VISION_OPERATIONS = 60
GAZE, GREEDY = "gaze", "greedy"
"""Selectors that are the gaze model, and that try patches out."""
_TRIED = 6
"""Patches that the greedy search tries at a step."""
_LOADING_OPERATIONS = 40_000
"""What building a model and filling it costs beside its weights, in calls of operators."""
_ROWS_OF_A_MATRIX = 64
"""From so many rows on a product has the price of one of matrices."""
_RESIDENT_COPIES = 2.0
"""Weights are held twice while they are loaded."""


@cache
def gaze_architecture(checkpoint: str | None, revision: str | None) -> "Architecture":
    """Return the sizes of a gaze model, from its configuration alone."""
    from autogaze.embedded import GAZE_FOLDER
    from autogaze.hub import resolve
    from autogaze.models.autogaze import AutoGazeConfig

    folder = GAZE_FOLDER if checkpoint is None else resolve(checkpoint, revision, ("config.json",))
    found: Architecture = AutoGazeConfig.from_pretrained(folder).architecture()
    return found


@cache
def reconstructor_config(checkpoint: str | None, revision: str | None) -> "VideoMAEConfig":
    """Return the configuration of a reconstructor, without its weights."""
    from autogaze.checkpoints import read_json
    from autogaze.embedded import RECONSTRUCTOR_FOLDER
    from autogaze.hub import resolve
    from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig
    from autogaze.tasks.video_mae_reconstruction.released import read_released_config

    names = ("config.json", "config.yaml")
    folder = RECONSTRUCTOR_FOLDER if checkpoint is None else resolve(checkpoint, revision, names)
    if (folder / names[1]).is_file():
        return read_released_config(folder / names[1])
    return VideoMAEConfig.from_dict(read_json(folder / names[0]))


@dataclass(frozen=True)
class Choice:
    """How patches are chosen: by which model, under which setting, of how many frames at a time."""

    arch: "Architecture"
    setting: GazeSetting
    chunk: int
    batch: int
    calls: int
    dtype: str
    engine: str

    @property
    def frames(self) -> int:
        """Frames of a repetition."""
        return self.chunk * self.batch * self.calls

    @property
    def budgets(self) -> tuple[int, ...]:
        """Most gazes in each frame of a chunk."""
        from autogaze.models.autogaze.budgets import as_ratios, budgets_of

        ratio = self.setting.gazing_ratio
        ratios = as_ratios(1.0 if ratio is None else ratio, self.chunk)
        return budgets_of(ratios, self.arch.grid.patches_per_frame)

    @property
    def least(self) -> tuple[int, ...]:
        """Fewest gazes in each frame: a group, where a requirement may be met by the first."""
        if self.setting.task_loss_requirement is None:
            return self.budgets
        return tuple(min(budget, self.arch.group) for budget in self.budgets)

    @property
    def likely(self) -> tuple[int, ...]:
        """Gazes in each frame, halfway between fewest and most as ratios go."""
        pairs = zip(self.least, self.budgets, strict=True)
        return tuple(round(math.sqrt(fewest * most)) for fewest, most in pairs)


def choice_of(axes: Mapping[str, AxisValue], inputs: Inputs, setting: GazeSetting, calls: int) -> Choice:
    """Return how a cell chooses patches."""
    import torch

    from autogaze.models.autogaze.engines import choose_engine

    arch, dtype = gaze_architecture(inputs.checkpoint, inputs.revision), str(axes["dtype"])
    named = str(axes.get("engine") or "auto")
    engine = named
    if named == "auto":
        engine = choose_engine(named, arch, torch.device(inputs.device), getattr(torch, dtype))
    chunk, batch = int(axes["chunk"] or 1), int(axes.get("batch") or 1)
    return Choice(arch, setting, chunk, batch, calls, dtype, engine)


def obstacle_of(axes: Mapping[str, AxisValue], inputs: Inputs) -> str | None:
    """Say why a cell's attention backend or engine cannot run here, in the words of the cell itself; None
    where both can."""
    import torch

    from autogaze.attention import require_backend
    from autogaze.errors import BackendUnavailable
    from autogaze.models.autogaze.engines import ENGINES, choose_engine

    device, dtype = torch.device(inputs.device), getattr(torch, str(axes["dtype"]))
    try:
        require_backend(str(axes["attention"]), device, dtype)
        if axes.get("engine") in ENGINES:
            arch = gaze_architecture(inputs.checkpoint, inputs.revision)
            choose_engine(str(axes["engine"]), arch, device, dtype)
    except BackendUnavailable as error:
        return str(error)
    return None


def choosing(choice: Choice, gazes: tuple[int, ...]) -> Efforts:
    """Return what it takes to choose ``gazes`` patches in each frame of every chunk of a repetition."""
    from autogaze.models.autogaze.engines import ENGINES
    from autogaze.models.autogaze.work import gaze_work

    arch, size = choice.arch, _itemsize(choice.dtype)
    first = gaze_work(arch, [min(each, arch.group) for each in gazes], size).flops
    steps = gaze_work(arch, gazes, size).flops - first
    videos = choice.batch * choice.calls
    blocks = sum(-(-each // arch.group) for each in gazes)
    each_block = _BLOCK_OPERATIONS + _LAYER_OPERATIONS * arch.layers
    if choice.engine == "native":
        parts = Effort(choice.dtype, flops=first, native_flops=steps, operations=_VISION_OPERATIONS)
        return (parts * videos,)
    operations = _VISION_OPERATIONS + blocks * each_block
    if choice.engine in ENGINES and ENGINES[choice.engine].captures:  # one launch, whatever is in it
        operations = _VISION_OPERATIONS
    few = arch.group * choice.batch < _ROWS_OF_A_MATRIX
    products = min(steps, (blocks - len(gazes)) * _step_products(arch))
    return (
        Effort(
            choice.dtype,
            flops=(first if few else first + products) * videos,
            row_flops=products * videos if few else 0.0,
            attention_flops=(steps - products) * videos,
            operations=operations * choice.calls,
        ),
    )


def _step_products(arch: "Architecture") -> int:
    """Return the FLOPs of a decode step without its attention; the last layer answers for one token only."""
    answered = arch.group * (arch.layers - 1) + 1
    rest = arch.width**2 + 3 * arch.width * arch.mlp_width
    heads = arch.width * arch.group * (arch.vocabulary + 1)
    return 2 * (arch.group * arch.layers * 3 * arch.width**2 + answered * rest + heads)


def reconstructing(
    config: "VideoMAEConfig", gazes: tuple[int, ...], videos: int, calls: int, dtype: str
) -> Efforts:
    """Return what it takes to paint all frames of ``videos`` chunks, in so many calls."""
    from autogaze.tasks.video_mae_reconstruction.work import reconstruction_work

    layers = config.num_hidden_layers + config.decoder_num_hidden_layers
    return (
        Effort(
            dtype,
            flops=reconstruction_work(config, gazes, _itemsize(dtype)).flops * videos,
            operations=(_VISION_OPERATIONS + _LAYER_OPERATIONS * layers) * calls,
        ),
    )


def searching(config: "VideoMAEConfig", gazes: tuple[int, ...], videos: int, dtype: str) -> Efforts:
    """Return what the greedy search takes: it paints a frame for every patch it tries."""
    from autogaze.tasks.video_mae_reconstruction.work import reconstruction_work

    size = _itemsize(dtype)
    flops = sum(
        _TRIED * reconstruction_work(config, (taken,), size).flops
        for budget in gazes
        for taken in range(1, budget + 1)
    )
    layers = config.num_hidden_layers + config.decoder_num_hidden_layers
    return (
        Effort(
            dtype,
            flops=flops * videos,
            operations=sum(gazes) * (_VISION_OPERATIONS + _LAYER_OPERATIONS * layers) * videos,
        ),
    )


def loading(checkpoint: str | None, embedded: Path) -> Efforts:
    """Return what it takes to load a model from its folder or the embedded one's."""
    return (Effort(loaded_bytes=weight_bytes(checkpoint, embedded), operations=_LOADING_OPERATIONS),)


def weight_bytes(checkpoint: str | None, embedded: Path) -> int:
    """Return the size of a model's files of weights; 0 for one that is on the hub and not here yet."""
    folder = Path(checkpoint).expanduser() if checkpoint else embedded
    if not folder.is_dir():
        return 0
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".safetensors", ".pt"))


def resident_bytes(weights: float, dtype: str, frames: int, size: int) -> float:
    """Return the memory of weights that are stored in half precision, and of videos of so many frames."""
    return _RESIDENT_COPIES * weights * 2 + 6 * frames * 3 * size**2 * max(4, _itemsize(dtype))


def _itemsize(dtype: str) -> int:
    import torch

    found: torch.dtype | Any = getattr(torch, dtype)
    return int(found.itemsize)


def foresee_clip(axes: Mapping[str, AxisValue], inputs: Inputs, parts: frozenset[str], calls: int) -> Outlook:
    """Return the outlook of a cell on one clip, whose repetition is made of ``parts``."""
    if (obstacle := obstacle_of(axes, inputs)) is not None:
        return Outlook(obstacle)
    choice = choice_of(axes, inputs, parse_setting(str(axes["setting"])), calls)
    config = _reconstructor(axes, inputs) if "reconstruct" in parts else None
    setup = _loading(inputs, axes, config is not None)
    judging: Efforts = ()
    if "read" not in parts:
        setup += (Effort(frames_read=choice.frames),)
    if config is not None:
        judging += (Effort(frames_judged=choice.frames),)
    if parts == {"reconstruct"}:
        setup += choosing(choice, choice.budgets)
    if parts == {"gaze"} and (choice.engine, choice.dtype) != ("eager", "float32"):
        exact = replace(choice, dtype="float32", engine="eager")
        judging += _loading(inputs, {}, reconstructs=False) + choosing(exact, exact.likely)
    weights = sum(each.loaded_bytes for each in setup)
    memory = resident_bytes(weights, choice.dtype, choice.frames, choice.arch.image_size)
    return Outlook(
        setup=setup,
        repetition=_repetition(choice, config, parts, choice.budgets, axes.get("selector")),
        least=_repetition(choice, config, parts, choice.least, axes.get("selector")),
        judging=judging,
        memory_bytes=memory,
        certain_bytes=choice.frames * 3 * choice.arch.image_size**2 * _itemsize(choice.dtype),
    )


def _repetition(
    choice: Choice,
    config: "VideoMAEConfig | None",
    parts: frozenset[str],
    gazes: tuple[int, ...],
    selector: AxisValue,
) -> Efforts:
    efforts: Efforts = (Effort(frames_read=choice.frames),) if "read" in parts else ()
    videos = choice.batch * choice.calls
    if selector == GREEDY and config is not None:
        efforts += searching(config, gazes, videos, choice.dtype)
    elif "gaze" in parts and selector in (None, GAZE):
        efforts += choosing(choice, gazes)
    if config is not None:
        efforts += reconstructing(config, gazes, videos, choice.calls, choice.dtype)
    return efforts


def _reconstructor(axes: Mapping[str, AxisValue], inputs: Inputs) -> "VideoMAEConfig":
    if axes.get("reconstructor") == "released_size":
        from autogaze.embedded.reconstructor import RELEASED_SIZE

        return RELEASED_SIZE
    return reconstructor_config(inputs.task_checkpoint, inputs.task_revision)


def _loading(inputs: Inputs, axes: Mapping[str, AxisValue], reconstructs: bool) -> Efforts:
    from autogaze.embedded import GAZE_FOLDER, RECONSTRUCTOR_FOLDER

    efforts = loading(inputs.checkpoint, GAZE_FOLDER)
    if reconstructs:
        efforts += loading(inputs.task_checkpoint, RECONSTRUCTOR_FOLDER)
    if axes.get("reconstructor") == "released_size":
        from autogaze.embedded.reconstructor import RELEASED_SIZE

        efforts += (Effort(random_values=_parameters(RELEASED_SIZE)),)
    return efforts


def _parameters(config: "VideoMAEConfig") -> int:
    """Return about how many weights a reconstructor has: those of its layers."""
    return sum(
        layers * (4 * width**2 + 2 * width * mlp)
        for layers, width, mlp in (
            (config.num_hidden_layers, config.hidden_size, config.intermediate_size),
            (config.decoder_num_hidden_layers, config.decoder_hidden_size, config.decoder_intermediate_size),
        )
    )
