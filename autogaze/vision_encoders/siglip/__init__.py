"""SigLIP and SigLIP 2 (fixed resolution) on the gazed patches of a video."""

from autogaze.vision_encoders.siglip.configuration_siglip import SiglipVisionConfig
from autogaze.vision_encoders.siglip.modeling_siglip import SiglipVisionModel, SiglipVisionOutput

__all__ = ["SiglipVisionConfig", "SiglipVisionModel", "SiglipVisionOutput"]
