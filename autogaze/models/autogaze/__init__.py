"""The gaze model: configuration, image processing, the model, and its use on streams and long videos."""

from autogaze.gaze.output import GazeOutput
from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig
from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor
from autogaze.models.autogaze.modeling_autogaze import AutoGaze
from autogaze.models.autogaze.streaming import GazeStream
from autogaze.models.autogaze.tiling import covering_scales
from autogaze.models.autogaze.video import GazedChunk, gaze_video

__all__ = [
    "AutoGaze",
    "AutoGazeConfig",
    "AutoGazeImageProcessor",
    "GazeOutput",
    "GazeStream",
    "GazedChunk",
    "covering_scales",
    "gaze_video",
]
