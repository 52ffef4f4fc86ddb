"""The gaze decoder: a small Llama stack whose every step emits a group of patches.

It computes in one of two forms, the same up to rounding. :class:`DecoderWeights` is the fast one: the
parameters in the form that needs fewest operations, and plain functions over them that every engine shares.
Query, key and value are one matrix, as are gate and up, and both heads; the gains of each RMSNorm are folded
into the matrix that follows it; the two channels of a rotary pair lie side by side.

The other are the modules themselves, called one by one, wherever something hangs on one of them that its
parameters do not tell: a hook, an adapter, another module in its place.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers.utils import ModelOutput

from autogaze.errors import InputError
from autogaze.models.autogaze.configuration_autogaze import Architecture
from autogaze.models.autogaze.decoder_stack import DecoderLayer, DecoderStack, Mlp, SelfAttention
from autogaze.models.autogaze.decoder_stack import rotations as rotations
from autogaze.models.autogaze.hooks import hooked
from kernels.decode_step.layers import Attention


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
    modules: "GazeDecoder | None" = (
        None  # to call in place of layers, norm and heads; None for nothing to call
    )


@dataclass
class GazeDecoderOutput(ModelOutput):  # type: ignore[misc]
    """What ``gaze_decoder(...)`` returns, readable by key and by attribute."""

    logits: Tensor | None = None
    """(batch, tokens, group * vocabulary): of the ten patches after each token, head after head."""
    task_loss_prediction: Tensor | None = None
    """(batch, tokens, group): reconstruction losses predicted beside them."""
    hidden_states: tuple[Tensor, ...] | None = None
    loss: Tensor | None = None
    past_key_values: None = None
    attentions: None = None


class GazeDecoder(nn.Module):
    """The decoder under the checkpoint's names."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.model = DecoderStack(arch)
        self.lm_head = nn.Linear(arch.width, arch.group * arch.vocabulary, bias=False)
        self.task_loss_prediction_head = nn.Linear(arch.width, arch.group, bias=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        *,
        logits_to_keep: int | Tensor = 0,
        **stack: Any,
    ) -> GazeDecoderOutput:
        """Run :class:`DecoderStack`, which takes ``stack``, and both heads on all tokens or on those of
        ``logits_to_keep``: the last so many, or the places given."""
        made = self.model(input_ids, attention_mask, position_ids, **stack)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden = made.last_hidden_state[:, kept]
        return GazeDecoderOutput(
            logits=self.lm_head(hidden),
            task_loss_prediction=self.task_loss_prediction_head(hidden),
            hidden_states=made.hidden_states,
        )

    def generate(self, *args: Any, **kwargs: Any) -> None:
        """Refuse: the decoder alone generates nothing here."""
        raise InputError(
            "gaze_decoder.generate does not exist here: patches are chosen by the gaze model, "
            "model({'video': video}, engine=...), frame by frame by GazeStream"
        )

    def decode(self, x: Tensor, rotation: Tensor, attention: Attention) -> Tensor:
        """Do as :func:`kernels.decode_step.layers.decode` by calling modules, for :meth:`predict`.

        What is returned is after the final norm; where something hangs on the decoder as a whole, it is what
        the heads made of that.
        """
        feed = {"inputs_embeds": x, "rotation": rotation, "attention": attention}
        if not hooked(self):
            hidden: Tensor = self.model(**feed).last_hidden_state
            return hidden
        made = self(**feed)
        return torch.cat([made.logits, made.task_loss_prediction], dim=-1)

    def predict(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Do as :func:`kernels.decode_step.layers.predict`, of what :meth:`decode` returned."""
        group, vocabulary = self.arch.group, self.arch.vocabulary
        if hooked(self):
            logits, losses = hidden.split([group * vocabulary, group], dim=-1)
        else:
            logits, losses = self.lm_head(hidden), self.task_loss_prediction_head(hidden)
        return logits.float().unflatten(-1, (group, vocabulary)), losses.float()

    def alteration(self) -> str | None:
        """Name what hangs on a module of the decoder that its parameters do not tell; None for nothing.

        Raises:
            InputError: for another ``generate``, which nothing here would call.
        """
        if vars(self).keys() & {"generate", "_sample"}:
            type(self).generate(self)
        if _tells_all(self):
            return None
        name, module = next((n, m) for n, m in self.named_modules() if not _acts_plainly(m))
        place = f"gaze_decoder.{name}".removesuffix(".")
        if hooked(module):
            return f"a hook or another forward on {place}"
        biased = " with a bias" if isinstance(module, nn.Linear) and module.bias is not None else ""
        return f"{type(module).__name__}{biased} at {place}"

    def weights(self) -> DecoderWeights:
        """Return the parameters, as they are now, in the form to compute with (a copy of a few megabytes), or
        the modules themselves where :meth:`alteration` finds something."""
        if self.alteration() is not None:
            return self._modules_to_call()
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

    def _modules_to_call(self) -> DecoderWeights:
        every_token = torch.arange(self.arch.vocabulary, device=self.lm_head.weight.device)
        return DecoderWeights(
            arch=self.arch,
            embedding=self.model.embed_tokens(every_token),
            layers=(),
            norm_floor=torch.empty(0),
            heads=torch.empty(0),
            modules=self,
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


_PLAIN = frozenset(
    {
        GazeDecoder,
        DecoderStack,
        DecoderLayer,
        SelfAttention,
        Mlp,
        nn.ModuleList,
        nn.Linear,
        nn.Embedding,
        nn.RMSNorm,
    }
)
"""Modules of which the parameters tell everything, linear ones without a bias."""


def _acts_plainly(module: nn.Module) -> bool:
    return type(module) in _PLAIN and not hooked(module) and vars(module)["_parameters"].get("bias") is None


def _tells_all(module: nn.Module) -> bool:
    """Whether that holds of a module and all modules in it."""
    if not _acts_plainly(module):
        return False
    return all(child is None or _tells_all(child) for child in vars(module)["_modules"].values())
