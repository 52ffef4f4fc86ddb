"""A reconstructor small enough for tests, and gazes for it."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autogaze.tasks.video_mae_reconstruction import VideoMAEConfig, VideoMAEReconstruction
from tests.reference.fill import fill

REFERENCE: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "reference" / "video_mae.json").read_text()
)

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "decoder_hidden_size": 16,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 32,
    "max_num_frames": 8,
}

ALL_LOSSES: dict[str, Any] = {
    "loss_type": "l1+dinov2_reg+siglip2",
    "loss_weights": "1+0.3+0.3",
    "dinov2_reg_loss_config": {
        "architecture": {
            "hidden_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "mlp_ratio": 2,
            "image_size": 70,
            "patch_size": 14,
        }
    },
    "siglip2_loss_config": {
        "architecture": {
            "hidden_size": 16,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "intermediate_size": 32,
            "image_size": 224,
            "patch_size": 16,
        }
    },
}


def reconstructor(seed: int = 5, attn_implementation: str = "sdpa", **config: Any) -> VideoMAEReconstruction:
    """A tiny reconstructor with seeded weights; ``config`` replaces keys of ``TINY``."""
    task = VideoMAEReconstruction(
        VideoMAEConfig.from_dict(TINY | config), attn_implementation=attn_implementation
    )
    fill(task.mae, seed)
    return task.eval()


def gaze(slots: list[int], batch: int = 1, seed: int = 0, per_frame: int = 265) -> dict[str, Tensor]:
    """Random gazes without padding: ``slots[t]`` distinct patches of frame t."""
    stream = torch.Generator().manual_seed(seed)
    positions = [
        torch.cat(
            [per_frame * t + torch.randperm(per_frame, generator=stream)[:n] for t, n in enumerate(slots)]
        )
        for _ in range(batch)
    ]
    return {
        "gazing_pos": torch.stack(positions),
        "if_padded_gazing": torch.zeros(batch, sum(slots), dtype=torch.bool),
        "num_gazing_each_frame": torch.tensor(slots),
    }
