"""The published evaluation gives the figures that its author's script gets through the released names."""

from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from autogaze.datasets.video_utils import process_video_frames, read_video_pyav, transform_video_for_pytorch
from autogaze.embedded import clip_path
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from suites.evaluation import EvaluatedClip, Evaluation, clips_of
from suites.settings import parse_setting
from suites.workload import Inputs
from tests.hub_folders import write_gaze_model
from tests.tasks.video_mae_reconstruction.examples import ALL_LOSSES, TINY, reconstructor

CLIP_LEN, CLIPS = 2, 2


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """A gaze model and a reconstructor in the released layouts, small and seeded."""
    gaze, task = tmp_path / "gaze", tmp_path / "task"
    write_gaze_model(gaze)
    task.mkdir()
    settings = {"recon_model": "facebook/vit-mae-large", "recon_model_config": TINY | ALL_LOSSES}
    (task / "config.yaml").write_text(yaml.safe_dump({"task": settings | {"scales": "32+64+112+224"}}))
    state = reconstructor(**ALL_LOSSES).state_dict()
    torch.save(
        OrderedDict((f"module.{name}", tensor) for name, tensor in state.items()), task / "videomae.pt"
    )
    return gaze, task


def loaded_task(folder: Path) -> VideoMAEReconstruction:
    """The reconstructor as the script builds it: from its parts, then its state."""
    asked: Any = OmegaConf.load(folder / "config.yaml").task
    asked.recon_model_config.revision = "142cb8c"
    task = VideoMAEReconstruction(
        recon_model=asked.recon_model,
        recon_model_config=asked.recon_model_config,
        scales=asked.scales,
        recon_sample_rate=1,
        attn_mode="sdpa",
    ).eval()
    state = torch.load(folder / "videomae.pt", map_location="cpu")
    renamed = OrderedDict((name.removeprefix("module."), tensor) for name, tensor in state.items())
    missing, unexpected = task.load_state_dict(renamed, strict=False)
    assert (missing, unexpected) == ([], [])
    return task


def by_released_names(folders: tuple[Path, Path], start: int, **setting: float) -> list[dict[str, float]]:
    """What the script says of each frame of a clip."""
    processor = AutoGazeImageProcessor.from_pretrained(str(folders[0]), revision="5100fae")
    model = AutoGaze.from_pretrained(str(folders[0]), revision="5100fae").to("cpu").eval()
    task = loaded_task(folders[1])
    with av.open(str(clip_path())) as container:
        raw = process_video_frames(read_video_pyav(container, list(range(start, start + CLIP_LEN))), CLIP_LEN)
    video_gaze = transform_video_for_pytorch(raw, processor)[None]
    video_task = transform_video_for_pytorch(raw, task.transform)[None]
    with torch.inference_mode():
        gaze = model({"video": video_gaze}, **setting)
        output = task.forward_output(
            {"video": video_gaze, "video_for_task": video_task},
            gaze,
            frame_idx_to_reconstruct=torch.arange(video_task.shape[1]),
        )
    mean, std = (np.array(output[name])[:, None, None] for name in ("image_mean", "image_std"))
    pictures = [
        np.clip((x[0].numpy() * std + mean) / 2 + 0.5, 0, 1).transpose(0, 2, 3, 1)
        for x in (video_task, output["reconstruction"])
    ]
    padded = gaze["if_padded_gazing"][0].split(gaze["num_gazing_each_frame"].tolist())
    losses = output["reconstruction_loss_each_reconstruction_frame"][0].tolist()
    return [
        {
            "gazes": int((~padded[frame]).sum()),
            "loss": losses[frame],
            "mae": float(np.abs(one - other).mean()),
            "psnr": float(peak_signal_noise_ratio(one, other, data_range=1.0)),
            "ssim": float(structural_similarity(one, other, channel_axis=-1, data_range=1.0)),
        }
        for frame, (one, other) in enumerate(zip(*pictures, strict=True))
    ]


@pytest.mark.parametrize("clip", clips_of(64, CLIP_LEN, (), CLIPS), ids=lambda clip: clip.name)
@pytest.mark.parametrize("name", ["ratio_0.10", "ratio_0.75_task_0.70", "task_0.70"])
def test_the_evaluation_gives_the_figures_of_its_authors_script(
    folders: tuple[Path, Path], clip: EvaluatedClip, name: str
) -> None:
    inputs = Inputs(checkpoint=str(folders[0]), task_checkpoint=str(folders[1]))
    axes = {each: axis.default for each, axis in Evaluation.axes.items()}
    workload = Evaluation(axes | {"clip": clip.name, "setting": name, "chunk": CLIP_LEN}, inputs)
    found = workload.quality(workload.run()).frames
    asked = asdict(parse_setting(name))
    limits = {
        each: asked[each] for each in ("gazing_ratio", "task_loss_requirement") if asked[each] is not None
    }
    expected = by_released_names(folders, clip.start, **limits)
    assert len(found) == len(expected) == CLIP_LEN
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["gazes"] == theirs["gazes"]
        for figure in ("loss", "mae", "psnr", "ssim"):
            assert ours[figure] == pytest.approx(theirs[figure], rel=1e-5), figure
