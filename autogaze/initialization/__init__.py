"""Weights before any training, of a gaze model and of a reconstructor."""
