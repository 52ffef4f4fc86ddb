"""AutoGaze: choose the few multi-scale patches of a video that are worth encoding."""

__version__ = "0.1.0"
