"""Attention over frames: one interface, all backends, all masks."""

from autogaze.attention.layout import FrameLayout, Kind
from autogaze.attention.registry import attend, available_backends, require_backend

__all__ = ["FrameLayout", "Kind", "attend", "available_backends", "require_backend"]
