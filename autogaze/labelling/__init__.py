"""The label maker: greedy gazes, which show the reconstructor what it needs most, to learn from."""

from autogaze.labelling.greedy import FrameGaze, Mode, greedy_frames, greedy_gaze
from autogaze.tasks.video_mae_reconstruction.incremental import IncrementalReconstruction

__all__ = ["FrameGaze", "IncrementalReconstruction", "Mode", "greedy_frames", "greedy_gaze"]
