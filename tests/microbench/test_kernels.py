"""The kernels' references, at sizes that a clip has: what the definition costs on a CPU."""

import pytest
import torch

from kernels.decode_step import reference
from kernels.decode_step.state import begin_frame
from kernels.registry import OPERATIONS

pytestmark = pytest.mark.microbench
CPU = torch.device("cpu")


@pytest.mark.parametrize("head_dim", [32, 64])
def test_block_causal_attention(benchmark, head_dim):
    sizes = {"tokens": 532, "frames": 4, "heads": 6, "head_dim": head_dim, "even": 1}
    check(benchmark, "block_causal_attention", sizes)


@pytest.mark.parametrize("cached", [400, 6400])
def test_decode_step(benchmark, cached):
    check(benchmark, "decode_step", {**full_size(), "cached": cached})


def test_prefill(benchmark):
    inputs = OPERATIONS["decode_step"].inputs({**full_size(), "cached": 1000}, torch.float32, CPU)
    state, weights = inputs["state"], inputs["weights"]
    vision = torch.randn(1, 196, weights.embedding.shape[1], generator=torch.Generator().manual_seed(1))
    pending = state.pending.clone()

    def prefill():
        state.length.fill_(500)
        state.pending.copy_(pending)
        begin_frame(state)
        reference.prefill(state, weights, vision)
        return state.group.clone()

    chosen = benchmark(prefill)
    assert state.length.tolist() == [500 + 10 + 196]
    assert len(set(chosen[0].tolist())) == 10
    assert torch.equal(chosen, prefill())


def full_size():
    """Return the sizes of the released decoder at batch 1."""
    return {"heads": 6, "head_dim": 32, "layers": 4, "group": 10, "vocabulary": 266, "batch": 1}


def check(benchmark, operation, shape):
    """Measure an operation's reference, each round on the same inputs."""
    operation = OPERATIONS[operation]
    inputs = operation.inputs(shape, torch.float32, CPU)
    flops, moved = operation.work(shape, torch.float32.itemsize)
    benchmark.extra_info |= {"flops": flops, "bytes": moved}
    result = benchmark.pedantic(
        operation.reference, setup=lambda: ((), operation.again(inputs)), rounds=50, warmup_rounds=3
    )
    assert result.isfinite().all()
    assert result.std() > 0
    assert operation.disagreement(inputs, result) == 0
