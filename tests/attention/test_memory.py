"""No backend but the definition builds a dense mask."""

import subprocess
import sys
from pathlib import Path

import pytest

PEAK = """
import sys, psutil, torch
from autogaze.attention import FrameLayout, attend
from bench.meters.memory import MemoryMeter

def tensors(tokens):
    return torch.randn(3, 1, tokens, 16, 64).transpose(2, 3).unbind()

with torch.inference_mode():
    attend(*tensors(320), FrameLayout((20,) * 16), sys.argv[1])
    inputs, layout, meter = tensors(4240), FrameLayout((265,) * 16), MemoryMeter("cpu")
    meter.begin()
    before = psutil.Process().memory_info().rss
    attend(*inputs, layout, sys.argv[1])
    meter.end()
print(meter.peaks().resident_peak - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the resident peak cannot be reset")
@pytest.mark.parametrize("backend", ["sdpa", "flash_attention_2", "flex"])
def test_peak_memory_is_a_tenth_of_a_dense_mask_at_most(backend: str) -> None:
    """16 frames of all 265 patches, 16 heads, block-causal, in a process that did nothing else."""
    child = subprocess.run([sys.executable, "-c", PEAK, backend], capture_output=True, text=True, check=True)
    output, dense_mask = 16 * 4240 * 64 * 4, 16 * 4240**2 * 4
    assert output <= int(child.stdout.split()[-1]) <= dense_mask / 10
