"""Endless, seeded, varied clips to train on, and a style of clips that training never sees."""

from autogaze.datasets.synthetic.videos import SyntheticVideos, paint_clip

__all__ = ["SyntheticVideos", "paint_clip"]
