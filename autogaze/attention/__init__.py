"""Attention over frames: one interface, all backends, all masks."""

from autogaze.attention.cached import CachedLayout
from autogaze.attention.layout import FrameLayout, Kind
from autogaze.attention.packed import PackedLayout
from autogaze.attention.registry import attend, attend_packed, available_backends, require_backend
from autogaze.attention.tracing import kernels_that_ran

__all__ = [
    "CachedLayout",
    "FrameLayout",
    "Kind",
    "PackedLayout",
    "attend",
    "attend_packed",
    "available_backends",
    "kernels_that_ran",
    "require_backend",
]
