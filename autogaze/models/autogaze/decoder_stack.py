"""The decoder's stack: embedding, layers and final norm as modules under the checkpoint's names.

They are called one by one where the stack is called by name (``gaze_decoder.model(inputs_embeds=...)``), and
where something hangs on one of them; elsewhere :class:`~autogaze.models.autogaze.decoder.DecoderWeights` take
their place.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPast

from autogaze.errors import InputError, refuse_unknown
from autogaze.models.autogaze.causal import causal_attention
from autogaze.models.autogaze.configuration_autogaze import Architecture, RotaryScaling
from kernels.decode_step.layers import Attention, rotate


class SelfAttention(nn.Module):
    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.head_dim = arch.head_dim
        self.q_proj = nn.Linear(arch.width, arch.width, bias=False)
        self.k_proj = nn.Linear(arch.width, arch.width, bias=False)
        self.v_proj = nn.Linear(arch.width, arch.width, bias=False)
        self.o_proj = nn.Linear(arch.width, arch.width, bias=False)

    def forward(
        self, hidden_states: Tensor, rotation: Tensor, attention: Attention, layer: int
    ) -> tuple[Tensor, None]:
        """Return what the released module does, hidden states and no weights."""
        query = self._rotated(self.q_proj(hidden_states), rotation)
        key = self._rotated(self.k_proj(hidden_states), rotation)
        value = self.v_proj(hidden_states).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        attended = attention(layer, query, key, value)
        return self.o_proj(attended.transpose(1, 2).flatten(2)), None

    def _rotated(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Bring (batch, tokens, C) to (batch, heads, tokens, head_dim), rotary pairs side by side as
        :class:`DecoderWeights` has them, so that both forms share caches and attention."""
        halves = x.unflatten(-1, (-1, 2, self.head_dim // 2))
        return rotate(halves.transpose(-1, -2).flatten(-2), rotation[:, :, None]).transpose(1, 2)


class Mlp(nn.Module):
    def __init__(self, width: int, mlp_width: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, mlp_width, bias=False)
        self.up_proj = nn.Linear(width, mlp_width, bias=False)
        self.down_proj = nn.Linear(mlp_width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        down: Tensor = self.down_proj(nn.functional.silu(self.gate_proj(x)) * self.up_proj(x))
        return down


class DecoderLayer(nn.Module):
    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.self_attn = SelfAttention(arch)
        self.mlp = Mlp(arch.width, arch.mlp_width)
        self.input_layernorm = nn.RMSNorm(arch.width, arch.rms_norm_eps)
        self.post_attention_layernorm = nn.RMSNorm(arch.width, arch.rms_norm_eps)

    def forward(
        self, hidden_states: Tensor, rotation: Tensor, attention: Attention, layer: int
    ) -> tuple[Tensor]:
        """Map (batch, tokens, C) to the same, in a tuple as the released layers do (transformers 4.51.3)."""
        attended, _ = self.self_attn(self.input_layernorm(hidden_states), rotation, attention, layer)
        x = hidden_states + attended
        return (x + self.mlp(self.post_attention_layernorm(x)),)


class DecoderStack(nn.Module):
    """Embedding, layers and final norm: ``gaze_decoder.model``."""

    attn_implementation = "sdpa"
    """Attention backend of the whole gaze model (:mod:`autogaze.attention`)."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.embed_tokens = nn.Embedding(arch.vocabulary, arch.width)
        self.layers = nn.ModuleList(DecoderLayer(arch) for _ in range(arch.layers))
        self.norm = nn.RMSNorm(arch.width, arch.rms_norm_eps)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        rotation: Tensor | None = None,
        attention: Attention | None = None,
        **released: Any,
    ) -> BaseModelOutputWithPast:
        """Run the layers, causally, on (batch, tokens) ``input_ids`` or (batch, tokens, C) ``inputs_embeds``.

        Args:
            input_ids: patch indices and EOS.
            attention_mask: (batch, tokens), 0 at tokens that nobody may see; they see those before them.
            position_ids: (batch or 1, tokens); None counts all tokens from 0.
            inputs_embeds: embeddings, in place of ``input_ids``.
            output_hidden_states: whether ``hidden_states`` are returned: the embeddings and what each layer
                made of them, the last one after the final norm.
            rotation: (1 or batch, tokens, head_dim / 2) complex rotations in place of ``position_ids``.
            attention: of each layer, in place of ``attention_mask``.
            released: further keywords of the released call, where they ask for nothing.

        Returns ``last_hidden_state`` (batch, tokens, C), after the final norm.

        Raises:
            InputError: for keywords that ask for a cache or for attention weights, or are unknown.
        """
        _refuse_demands(released)
        if (input_ids is None) == (inputs_embeds is None):
            raise InputError("the gaze decoder takes either input_ids or inputs_embeds, and got both or none")
        x: Tensor = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if rotation is None:
            rotation = self._rotation(position_ids, x)
        if attention is None:
            attention = self._causal(attention_mask, x)
        states = [x]
        for number, layer in enumerate(self.layers):
            made = layer(x, rotation, attention, number)
            x = made[0] if isinstance(made, tuple) else made
            states.append(x)
        x = states[-1] = self.norm(x)
        return BaseModelOutputWithPast(
            last_hidden_state=x, hidden_states=tuple(states) if output_hidden_states else None
        )

    def _rotation(self, position_ids: Tensor | None, x: Tensor) -> Tensor:
        arch, tokens = self.arch, x.shape[1]
        last = tokens if position_ids is None else int(position_ids.max()) + 1
        rows = -(-max(last, 1) // _TABLE_STEP) * _TABLE_STEP  # few lengths, since tables are kept
        table = rotations(arch.rope_theta, arch.rope_scaling, arch.head_dim, rows, x.device)
        return table[None, :tokens] if position_ids is None else table[position_ids.clamp(min=0)]

    def _causal(self, mask: Tensor | None, x: Tensor) -> Attention:
        batch, tokens, _ = x.shape
        if mask is None:
            mask = torch.ones(batch, tokens, dtype=torch.bool, device=x.device)
        if mask.shape != (batch, tokens):
            raise InputError(
                f"attention_mask has shape {list(mask.shape)}; one entry for each of ({batch}, {tokens}) "
                "tokens is wanted"
            )
        everywhere = torch.arange(tokens, device=x.device)
        return causal_attention((tokens,), mask == 0, self.attn_implementation, everywhere)


_TABLE_STEP = 1024


_DEMANDS = {
    "past_key_values": "keys and values of earlier calls",
    "use_cache": "a cache",
    "output_attentions": "attention weights",
    "cache_position": "places in a cache",
    "labels": "a loss",
    "return_dict": "",
}


def _refuse_demands(released: Mapping[str, Any]) -> None:
    """Refuse keywords of the released call that ask for what is not here; let those pass that ask for
    nothing."""
    refuse_unknown(DecoderStack.forward, released.keys() - _DEMANDS.keys())
    for name, value in released.items():
        if value is not None and value is not False and name != "return_dict":
            raise InputError(
                f"{name} asks the gaze decoder for {_DEMANDS[name]}, which it does not give; GazeStream "
                "chooses patches frame after frame"
            )


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
