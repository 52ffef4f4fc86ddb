"""Released name of :mod:`autogaze.models.autogaze.image_processing_autogaze`."""

from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor

__all__ = ["AutoGazeImageProcessor"]
