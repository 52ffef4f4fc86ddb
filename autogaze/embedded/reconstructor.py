"""The embedded reconstructor: small, trained by this project as ``MODEL_CARD.md`` tells."""

from autogaze.checkpoints import load_strict
from autogaze.initialization.reconstructor import initial_state
from autogaze.tasks.video_mae_reconstruction.configuration import VideoMAEConfig
from autogaze.tasks.video_mae_reconstruction.task_video_mae_reconstruction import VideoMAEReconstruction

CONFIG = VideoMAEConfig(
    hidden_size=256,
    num_hidden_layers=3,
    num_attention_heads=8,
    intermediate_size=1024,
    decoder_hidden_size=320,
    decoder_num_hidden_layers=3,
    decoder_num_attention_heads=10,
    decoder_intermediate_size=1280,
    trained=False,
)

RELEASED_SIZE = VideoMAEConfig(trained=False)
"""The released model's sizes, for who wants its cost without its weights."""


def seeded_reconstructor(
    attn_implementation: str = "sdpa", loss_type: str | None = None, config: VideoMAEConfig = CONFIG
) -> VideoMAEReconstruction:
    """Return a reconstructor as it is before any training, the same on every machine, ready for evaluation;
    the small one unless ``config`` says otherwise."""
    config = config if loss_type is None else config.with_losses(loss_type)
    task = VideoMAEReconstruction(config, attn_implementation=attn_implementation)
    load_strict(task, initial_state(config), "the seeded state")
    return task.eval()
