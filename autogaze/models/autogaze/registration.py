"""Registration with transformers' auto classes, under the model type of the released checkpoints."""

from transformers import AutoConfig, AutoImageProcessor, AutoModel

from autogaze.models.autogaze.configuration_autogaze import AutoGazeConfig
from autogaze.models.autogaze.image_processing_autogaze import AutoGazeImageProcessor
from autogaze.models.autogaze.modeling_autogaze import AutoGaze


def register() -> None:
    """Let ``AutoConfig``, ``AutoModel`` and ``AutoImageProcessor`` find the gaze model; once more changes
    nothing."""
    AutoConfig.register(AutoGazeConfig.model_type, AutoGazeConfig, exist_ok=True)
    AutoModel.register(AutoGazeConfig, AutoGaze, exist_ok=True)
    AutoImageProcessor.register(
        AutoGazeConfig, slow_image_processor_class=AutoGazeImageProcessor, exist_ok=True
    )
