"""The gaze model: configuration, image processing, and the model itself."""

from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig
from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor
from autogaze.models.autogaze.modeling_autogaze import AutoGaze
from autogaze.models.autogaze.output import GazeOutput

__all__ = ["AutoGaze", "AutoGazeConfig", "AutoGazeImageProcessor", "GazeOutput"]
