"""SigLIP and SigLIP 2 (fixed resolution) on the gazed patches of a video."""

from transformers import SiglipConfig

from autogaze.vision_encoders.siglip.configuration_siglip import SiglipVisionConfig
from autogaze.vision_encoders.siglip.modeling_siglip import SiglipVisionModel, SiglipVisionOutput

__all__ = ["SiglipConfig", "SiglipVisionConfig", "SiglipVisionModel", "SiglipVisionOutput"]
