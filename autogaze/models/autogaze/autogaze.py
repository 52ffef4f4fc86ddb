"""Released name of :mod:`autogaze.models.autogaze.modeling_autogaze`."""

from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig
from autogaze.models.autogaze.modeling_autogaze import AutoGaze, AutoGazeModel

__all__ = ["AutoGaze", "AutoGazeConfig", "AutoGazeModel"]
