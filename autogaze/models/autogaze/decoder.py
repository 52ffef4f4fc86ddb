"""The gaze decoder: a small Llama stack whose every step emits a group of patches.

:class:`GazeDecoder` only holds parameters under the checkpoint's names. The mathematics is in plain functions
over :class:`DecoderWeights`, which every engine shares: the weights in the form that needs fewest operations.
Query, key and value are one matrix, as are gate and up, and both heads; the gains of each RMSNorm are folded
into the matrix that follows it; the two channels of a rotary pair lie side by side.
"""

import functools
import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from autogaze.models.autogaze.configuration_autogaze import Architecture, RotaryScaling


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)


class _Mlp(nn.Module):
    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, mlp_width, bias=False)
        self.up_proj = nn.Linear(width, mlp_width, bias=False)
        self.down_proj = nn.Linear(mlp_width, width, bias=False)


class DecoderLayer(nn.Module):
    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.self_attn = _Attention(arch.width)
        self.mlp = _Mlp(arch.width, arch.mlp_width)
        self.input_layernorm = nn.RMSNorm(arch.width, arch.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(arch.width, arch.rms_norm_eps)


class _Stack(nn.Module):
    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(arch.vocabulary, arch.width)
        self.layers = nn.ModuleList(DecoderLayer(arch) for _ in range(arch.layers))
        self.norm = nn.RMSNorm(arch.width, arch.rms_norm_eps)


class LayerWeights(NamedTuple):
    """One layer, ready to compute with; C channels, F of the MLP."""

    query_key_value: Tensor  # (3C, C)
    output: Tensor  # (C, C)
    gate_up: Tensor  # (2F, C)
    down: Tensor  # (C, F)


class DecoderWeights(NamedTuple):
    """The decoder, ready to compute with. Differentiable: gradients reach the parameters they were made
    from."""

    arch: Architecture
    embedding: Tensor  # (vocabulary, C)
    layers: tuple[LayerWeights, ...]
    norm_floor: Tensor  # (), sqrt(C * eps) of the RMSNorms
    heads: Tensor  # (group * vocabulary + group, C): patch logits, then loss predictions


class GazeDecoder(nn.Module):
    """The decoder's parameters under the checkpoint's names."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.model = _Stack(arch)
        self.lm_head = nn.Linear(arch.width, arch.group * arch.vocabulary, bias=False)
        self.task_loss_prediction_head = nn.Linear(arch.width, arch.group, bias=False)

    def weights(self) -> DecoderWeights:
        """Return the parameters, as they are now, in the form to compute with (a copy of a few megabytes)."""
        heads = torch.cat([self.lm_head.weight, self.task_loss_prediction_head.weight])
        return DecoderWeights(
            arch=self.arch,
            embedding=self.model.embed_tokens.weight,
            layers=tuple(self._layer_weights(cast(DecoderLayer, layer)) for layer in self.model.layers),
            norm_floor=heads.new_full(
                (), math.sqrt(self.arch.width * self.arch.rms_norm_eps), dtype=torch.float32
            ),
            heads=self._fold(self.model.norm, heads),
        )

    def _layer_weights(self, layer: DecoderLayer) -> LayerWeights:
        attention, mlp = layer.self_attn, layer.mlp
        query = self._pair_rotary_rows(attention.q_proj.weight)
        key = self._pair_rotary_rows(attention.k_proj.weight)
        return LayerWeights(
            query_key_value=self._fold(
                layer.input_layernorm, torch.cat([query, key, attention.v_proj.weight])
            ),
            output=attention.o_proj.weight,
            gate_up=self._fold(
                layer.post_attention_layernorm, torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight])
            ),
            down=mlp.down_proj.weight,
        )

    def _fold(self, norm: nn.RMSNorm, matrix: Tensor) -> Tensor:
        """Fold the gains of an RMSNorm, and the square root that turns a length into a root mean square, into
        a matrix."""
        gain = norm.weight.float() * math.sqrt(self.arch.width)
        return (matrix.float() * gain).to(matrix.dtype)

    def _pair_rotary_rows(self, weight: Tensor) -> Tensor:
        """Put channel i of a head beside channel i + head_dim / 2, which it is rotated with.

        Scores are sums over channels, so the same order in query and key changes nothing but the summation
        order, and the rotation becomes one complex product.
        """
        halves = weight.view(self.arch.heads, 2, self.arch.head_dim // 2, self.arch.width)
        return halves.transpose(1, 2).reshape(weight.shape)


@functools.lru_cache(maxsize=8)
def rotations(
    theta: float, scaling: RotaryScaling | None, head_dim: int, positions: int, device: torch.device
) -> Tensor:
    """Return (positions, head_dim / 2) complex64 unit numbers: the rotary rotation of every position and
    channel pair.

    The "llama3" scaling (Llama 3.1, as transformers computes it) divides the frequency of wavelengths longer
    than original / low_freq_factor, keeps those shorter than original / high_freq_factor, and blends between.
    """
    frequency = 1.0 / theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim)
    if scaling is not None:
        original, low, high = (
            scaling.original_max_position_embeddings,
            scaling.low_freq_factor,
            scaling.high_freq_factor,
        )
        wavelength = 2 * math.pi / frequency
        blend = ((original / wavelength - low) / (high - low)).clamp(0, 1)
        frequency = blend * frequency + (1 - blend) * frequency / scaling.factor
    angle = torch.arange(positions).float()[:, None] * frequency
    return torch.polar(torch.ones_like(angle), angle).to(device)
