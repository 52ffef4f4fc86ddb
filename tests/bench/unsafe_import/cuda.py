"""Looks, to who asks torch, as if it had touched CUDA when it was imported."""

import torch

torch.cuda.is_initialized = lambda: True
