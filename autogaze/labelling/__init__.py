"""The label maker: greedy gazes, which show the reconstructor what it needs most, to learn from."""

from autogaze.labelling.greedy import FrameGaze, Mode, greedy_frames, greedy_gaze
from autogaze.labelling.incremental import IncrementalReconstruction

__all__ = ["FrameGaze", "IncrementalReconstruction", "Mode", "greedy_frames", "greedy_gaze"]
