"""Reconstruct the frames of a video from its gazed patches, and measure how well that went."""

from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.metrics import frame_metrics
from autogaze.tasks.video_mae_reconstruction.task_video_mae_reconstruction import VideoMAEReconstruction
from autogaze.tasks.video_mae_reconstruction.video_mae import VideoMAE

__all__ = ["VideoMAE", "VideoMAEConfig", "VideoMAEReconstruction", "frame_metrics"]
