"""Data sets for training: painted clips, folders of videos, and recorded gazes to learn from."""
