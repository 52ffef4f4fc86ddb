"""Judges: networks that say how far a reconstruction is from the original; their weights are the user's own.

Nothing is downloaded: a network that is not on this machine makes the cell ``unsupported``, with the command
that fetches it.
"""

import importlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autogaze.errors import BackendUnavailable

if TYPE_CHECKING:
    from torch import Tensor

    from suites.pipeline import Pipeline

PIXELS, LPIPS = "pixels", "lpips"
FEATURES = ("dinov2_reg", "siglip2")
JUDGES = (PIXELS, LPIPS, *FEATURES)
"""``pixels`` is the reconstructor's own loss and scikit-image's figures, which come with every judge."""

Judge = tuple[str, Callable[["Tensor", "Tensor"], "Tensor"]]
"""The name of the figure, and what takes two normalised videos, (B, T, 3, H, W), to (B, T) distances."""

_LPIPS_WEIGHTS = "alexnet-owt-7be5be79.pth"
"""torchvision's AlexNet, on which LPIPS of that kind rests; its own layers come with the package."""


def open_judge(name: str, pipeline: "Pipeline") -> Judge | None:
    """Return the judge called ``name``, on the pipeline's device; None for ``pixels``.

    Raises ``BackendUnavailable`` where its package or weights are not on this machine.
    """
    if name == PIXELS:
        return None
    return name, _lpips(pipeline) if name == LPIPS else _features(name, pipeline)


def judge_obstacle(name: str, brought: Collection[str]) -> str | None:
    """Say why a judge's package or weights are not on this machine; None where they are.

    ``brought`` are the losses that the reconstructor was trained with, whose networks it has.
    """
    try:
        if name == LPIPS:
            _lpips_package()
        elif name in FEATURES and name not in brought:
            _backbone_file(name)
    except BackendUnavailable as error:
        return str(error)
    return None


def _lpips(pipeline: "Pipeline") -> Callable[["Tensor", "Tensor"], "Tensor"]:
    import torch

    from autogaze.video.preprocessing import unnormalize

    lpips = _lpips_package()
    network: Any = lpips.LPIPS(net="alex", verbose=False).to(pipeline.device).eval()

    @torch.inference_mode()
    def distance(video: "Tensor", reconstruction: "Tensor") -> "Tensor":
        frames = (2 * unnormalize(each.flatten(0, 1)) - 1 for each in (video, reconstruction))
        found: Tensor = network(*frames).view(video.shape[:2])
        return found

    return distance


def _lpips_package() -> Any:
    """Return the package; raise ``BackendUnavailable`` where it or the weights it needs are not here."""
    import torch

    try:
        lpips: Any = importlib.import_module("lpips")
    except ImportError:
        raise BackendUnavailable(
            "LPIPS needs the package lpips, which is not installed here: pip install 'autogaze-bench[lpips]'"
        ) from None
    weights = Path(torch.hub.get_dir()) / "checkpoints" / _LPIPS_WEIGHTS
    if not weights.is_file():
        raise BackendUnavailable(
            f"LPIPS needs the weights of AlexNet, and {weights} does not exist: fetch them with "
            "python -c \"import torchvision; torchvision.models.alexnet(weights='IMAGENET1K_V1')\""
        )
    return lpips


def _features(loss: str, pipeline: "Pipeline") -> Callable[["Tensor", "Tensor"], "Tensor"]:
    """Return the feature loss of that name; a checkpoint that was trained with it brings its network."""
    import torch

    from autogaze.checkpoints import load_strict, read_state
    from autogaze.tasks.video_mae_reconstruction.backbones import build_backbone
    from autogaze.tasks.video_mae_reconstruction.losses import feature_loss, frame_features

    assert pipeline.task is not None
    mae = pipeline.task.mae
    if loss not in dict(mae.named_children()):
        file = _backbone_file(loss)
        network = build_backbone(loss, mae.config.backbone_architecture(loss))
        names = network.state_dict()
        # A published SigLIP has a tower for text too.
        load_strict(network, {k: v for k, v in read_state(file).items() if k in names}, str(file))
        mae.add_module(loss, network.to(pipeline.device))

    @torch.inference_mode()
    def distance(video: "Tensor", reconstruction: "Tensor") -> "Tensor":
        original, painted = (frame_features(mae, loss, frames) for frames in (video, reconstruction))
        return feature_loss(painted, original)

    return distance


def _backbone_file(loss: str) -> Path:
    from autogaze.hub import PINNED_REVISIONS
    from autogaze.tasks.video_mae_reconstruction.configuration import FEATURE_BACKBONES

    hub_id = FEATURE_BACKBONES[loss]
    return _cached(hub_id, PINNED_REVISIONS[hub_id])


def _cached(hub_id: str, revision: str) -> Path:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "model.safetensors", revision=revision)
    if not isinstance(found, str):
        raise BackendUnavailable(
            f"the weights of {hub_id} at revision {revision} are not in the Hugging Face cache: fetch them "
            f"with hf download {hub_id} model.safetensors --revision {revision}"
        )
    return Path(found)
