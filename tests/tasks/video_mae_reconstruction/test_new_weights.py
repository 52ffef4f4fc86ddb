"""New weights of a ViT-MAE are small, and its tables of positions sines and cosines."""

import math

import pytest
from transformers import ViTMAEConfig

from autogaze.tasks.video_mae_reconstruction.modeling_video_mae import ViTMAEForPreTraining
from autogaze.tasks.video_mae_reconstruction.new_weights import waves

SIZES = {
    "hidden_size": 128,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "decoder_hidden_size": 64,
    "decoder_num_hidden_layers": 1,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 128,
}


def test_a_place_is_told_by_waves_along_its_column_and_its_row() -> None:
    table = waves(8, 3)
    assert table.shape == (9, 8)
    column, row = 2, 1
    expected = [f(x * rate) for x in (column, row) for f in (math.sin, math.cos) for rate in (1, 0.01)]
    assert table[row * 3 + column].tolist() == pytest.approx(expected)


def test_both_tables_hold_waves_and_nothing_for_the_class_token() -> None:
    mae = ViTMAEForPreTraining(ViTMAEConfig(**SIZES))
    for table, width in ((mae.vit.embeddings.position_embeddings, 128), (mae.decoder.decoder_pos_embed, 64)):
        assert table[0, 1:].equal(waves(width, 14))
        assert not table[0, 0].any()


def test_matrices_are_small_biases_zero_and_norms_do_nothing() -> None:
    config = ViTMAEConfig(**SIZES, initializer_range=0.05)
    config.scales = "32+224"
    state = ViTMAEForPreTraining(config).state_dict()
    for name, tensor in state.items():
        if "layernorm" in name or "decoder_norm" in name:
            assert tensor.unique().tolist() == ([1.0] if name.endswith("weight") else [0.0]), name
        elif name.endswith("bias"):
            assert not tensor.any(), name
        elif "pos" not in name and "projection" not in name:
            assert 0.035 < float(tensor.std()) < 0.065, name


def test_the_patch_projection_is_spread_by_its_inputs_and_outputs() -> None:
    projection = ViTMAEForPreTraining(ViTMAEConfig(**SIZES)).vit.embeddings.patch_embeddings.projection
    assert float(projection.weight.detach().std()) == pytest.approx(math.sqrt(2 / (3 * 256 + 128)), rel=0.1)
