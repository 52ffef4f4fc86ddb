"""The gaze model: configuration, image processing, the model, and its use on streams and long videos.

Importing it makes it known to transformers' ``AutoConfig``, ``AutoModel`` and ``AutoImageProcessor``.
"""

from autogaze.gaze.output import GazeOutput
from autogaze.models.autogaze.configuration_autogaze import (
    AutoGazeConfig,
    ConnectorConfig,
    GazeDecoderConfig,
    GazeModelConfig,
    VisionModelConfig,
)
from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor
from autogaze.models.autogaze.modeling_autogaze import AutoGaze
from autogaze.models.autogaze.registration import register
from autogaze.models.autogaze.streaming import GazeStream
from autogaze.models.autogaze.tiling import covering_scales
from autogaze.models.autogaze.video import GazedChunk, gaze_video

__all__ = [
    "AutoGaze",
    "AutoGazeConfig",
    "AutoGazeImageProcessor",
    "ConnectorConfig",
    "GazeDecoderConfig",
    "GazeModelConfig",
    "GazeOutput",
    "GazeStream",
    "GazedChunk",
    "VisionModelConfig",
    "covering_scales",
    "gaze_video",
]

register()
