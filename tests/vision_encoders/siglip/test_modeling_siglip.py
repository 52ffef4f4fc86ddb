"""The encoder gives the released features, sees gazed patches only, and refuses what does not fit."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

from autogaze.errors import InputError
from autogaze.gaze.output import GazeOutput, gazing_masks
from autogaze.vision_encoders.siglip import SiglipVisionConfig, SiglipVisionModel, SiglipVisionOutput
from tests.reference.cases import load
from tests.reference.fill import clip, fill

REFERENCE = load("siglip")
KINDS = ("block_causal", "causal", "bidirectional")


def encoder(seed: int = 7, backend: str = "sdpa", **config: Any) -> SiglipVisionModel:
    """The reference cases' small encoder with seeded weights; ``config`` replaces keys."""
    model = SiglipVisionModel(SiglipVisionConfig.from_dict(REFERENCE["config"] | config), backend)
    fill(model, seed)
    return model.eval()


def gaze(frames: list[list[list[int]]], padding: list[list[list[int]]] | None = None) -> GazeOutput:
    """A gaze from patch indices, [video][frame][slot]; ``padding`` is 1 at padded slots."""
    slots = [len(frame) for frame in frames[0]]
    positions = torch.tensor([[265 * t + p for t, f in enumerate(video) for p in f] for video in frames])
    padded = torch.zeros_like(positions, dtype=torch.bool)
    if padding is not None:
        padded = torch.tensor([[p for f in video for p in f] for video in padding], dtype=torch.bool)
    grid = SiglipVisionConfig(scales="32+64+112+224").grid
    masks = gazing_masks(positions, padded, len(slots), grid)
    return GazeOutput(positions, padded, torch.tensor(slots), masks, list(grid.scales), 265)


_SET = ("scales", "attn_type", "frame_independent_encoding")

UNEVEN = gaze(
    [[[69, 3, 200, 9], [30, 264], [0, 1, 2]], [[70, 5, 0, 0], [0, 0], [0, 100, 0]]],
    [[[0, 0, 0, 0], [0, 0], [0, 0, 0]], [[0, 0, 1, 1], [1, 1], [1, 0, 1]]],
)
"""Interior padding, a frame without a gaze, and a video with far fewer gazes than its mate."""


@pytest.fixture(scope="module")
def video() -> Tensor:
    return clip(3, 2, 3)


def encode(model: SiglipVisionModel, video: Tensor, gazes: Any = None) -> SiglipVisionOutput:
    with torch.no_grad():
        output: SiglipVisionOutput = model(video, gazing_info=gazes)
    return output


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("case", REFERENCE["cases"], ids=lambda case: str(case["kwargs"]))
def test_released_features_are_reproduced(case: dict[str, Any], backend: str) -> None:
    gazes = {name: torch.tensor(value) for name, value in case["gaze"].items()}
    video = clip(case["clip_seed"], case["batch"], case["frames"])
    model = encoder(case["weight_seed"], backend, **case["kwargs"])
    hidden = encode(model, video, gazes).last_hidden_state[~gazes["if_padded_gazing"].bool()]
    expected, stats = case["kept_hidden"], case["kept_hidden_stats"]
    assert list(hidden.shape) == stats["shape"]
    tolerance = 1e-4 * stats["std"]
    sampled = hidden.flatten()[expected["index"]]
    torch.testing.assert_close(sampled, torch.tensor(expected["value"]), atol=tolerance, rtol=0)
    assert hidden.mean().item() == pytest.approx(stats["mean"], abs=tolerance)
    assert hidden.std().item() == pytest.approx(stats["std"], abs=tolerance)


def test_parameters_carry_the_released_names_and_shapes() -> None:
    found = {name: list(tensor.shape) for name, tensor in encoder().state_dict().items()}
    assert found == REFERENCE["state_dict"]


@pytest.mark.parametrize("act", ["gelu_pytorch_tanh", "gelu"])
def test_a_picture_gets_the_features_transformers_gives_it(act: str) -> None:
    from transformers import SiglipVisionConfig as TheirConfig
    from transformers import SiglipVisionModel as TheirModel

    from tests.vision_encoders.siglip.checkpoints import with_prefix

    config = {key: value for key, value in REFERENCE["config"].items() if key != "scales"}
    theirs = TheirModel(TheirConfig(**config, hidden_act=act)).eval()
    ours = SiglipVisionModel(SiglipVisionConfig.from_dict(config | {"hidden_act": act})).eval()
    ours.load_state_dict(with_prefix(theirs.state_dict()))
    pictures = clip(5, 2, 1)
    with torch.no_grad():
        expected = theirs(pictures[:, 0])
    found = encode(ours, pictures)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooler_output, expected.pooler_output, atol=1e-5, rtol=1e-5)


def test_the_output_is_read_by_key_and_by_attribute(video: Tensor) -> None:
    output = encode(encoder(), video, UNEVEN)
    assert set(output) == {"last_hidden_state", "pooler_output", "if_padded_gazing"}
    assert output["last_hidden_state"] is output.last_hidden_state
    assert output.last_hidden_state.shape == (2, 9, 48)
    assert output.pooler_output is not None
    assert output.pooler_output.shape == (2, 48)
    assert output.if_padded_gazing is not None
    assert torch.equal(output.if_padded_gazing, UNEVEN.if_padded_gazing)


def test_the_output_is_read_by_number_as_those_of_transformers(video: Tensor) -> None:
    output = encode(encoder(), video, UNEVEN)
    assert output[0] is output.last_hidden_state
    features, pooled = output.to_tuple()
    assert (features is output[0], pooled is output.pooler_output) == (True, True)
    assert output.attentions is None


def test_hidden_states_are_what_went_into_each_layer_and_what_came_out_of_the_last(video: Tensor) -> None:
    model = encoder()
    seen: list[Tensor] = []
    for layer in model.vision_model.encoder.layers:
        layer.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    model.vision_model.post_layernorm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    with torch.no_grad():
        padded = model(video, UNEVEN, output_hidden_states=True)
        packed = model(pixel_values=video, gazing_info=UNEVEN.packed(), output_hidden_states=True)
    assert len(padded.hidden_states) == model.config.num_hidden_layers + 1
    for number, state in enumerate(padded.hidden_states):
        assert state.shape == padded.last_hidden_state.shape
        assert torch.equal(state[~UNEVEN.if_padded_gazing], seen[number])
        assert torch.equal(packed.hidden_states[number], seen[number])
    model.config.output_hidden_states = True
    assert len(encode(model, video, UNEVEN).to_tuple()) == 3


def test_arguments_of_the_released_call_that_cannot_be_had_are_refused_by_name(video: Tensor) -> None:
    with pytest.raises(InputError, match="output_attentions is true, and no attention backend keeps"):
        encoder()(video, UNEVEN, output_attentions=True)
    with pytest.raises(InputError, match="argument of SiglipVisionModel 'gaze_info': did you mean 'gazing_i"):
        encoder()(video, gaze_info=UNEVEN)
    encoder()(video[:1, :1], interpolate_pos_encoding=False)


def test_the_embeddings_tell_the_places_of_their_table() -> None:
    embeddings = encoder().vision_model.embeddings
    assert embeddings.num_positions == embeddings.num_patches == len(embeddings.position_embedding.weight)
    places = torch.arange(embeddings.num_positions).expand((1, -1))
    embeddings.register_buffer("position_ids", places, persistent=False)  # as for released encoders


def test_scales_and_masks_that_are_set_on_a_models_configuration_count_from_its_next_call(
    video: Tensor,
) -> None:
    model = encoder()
    for name, value in {
        "scales": "112+224",
        "attn_type": "causal",
        "frame_independent_encoding": True,
    }.items():
        setattr(model.config, name, value)
        expected = encode(encoder(**{name: getattr(model.config, name) for name in _SET}), video)
        assert torch.equal(encode(model, video).last_hidden_state, expected.last_hidden_state)
    assert model.scales == [112, 224]


def test_the_backend_of_a_models_configuration_is_the_models(video: Tensor) -> None:
    model = encoder()
    model.config._attn_implementation = "triton"
    assert model.attn_implementation == "triton"
    with pytest.raises(InputError, match="triton"):
        model.to(torch.float64)(video.double())
    model.attn_implementation = "eager"
    assert model.config._attn_implementation == "eager"


def test_a_backend_given_to_one_model_is_not_that_of_others_of_its_configuration() -> None:
    config = SiglipVisionConfig.from_dict(REFERENCE["config"])
    models = SiglipVisionModel(config, "eager"), SiglipVisionModel(config)
    assert [model.attn_implementation for model in models] == ["eager", "sdpa"]
    assert models[1].config is config


def test_transformers_auto_model_finds_the_encoder_by_its_configuration() -> None:
    import transformers

    ours = SiglipVisionConfig.from_dict(REFERENCE["config"])
    assert isinstance(transformers.AutoModel.from_config(ours), SiglipVisionModel)
    theirs = transformers.SiglipVisionConfig(**{**REFERENCE["config"], "scales": None})
    assert isinstance(transformers.AutoModel.from_config(theirs), transformers.SiglipVisionModel)


def test_without_gazes_all_patches_are_encoded(video: Tensor) -> None:
    everything = gaze([[list(range(265))] * 3] * 2)
    found, expected = encode(encoder(), video), encode(encoder(), video, everything)
    assert found.last_hidden_state.shape == (2, 3 * 265, 48)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_packed_gaze_gets_the_features_of_the_padded_one(
    video: Tensor, kind: str, independent: bool
) -> None:
    model = encoder(attn_type=kind, frame_independent_encoding=independent)
    padded, packed = encode(model, video, UNEVEN), encode(model, video, UNEVEN.packed())
    assert packed.last_hidden_state.shape == (12, 48)
    assert packed.if_padded_gazing is None
    real = padded.last_hidden_state[~UNEVEN.if_padded_gazing]
    torch.testing.assert_close(packed.last_hidden_state, real, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(packed.pooler_output, padded.pooler_output, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_video_of_a_batch_is_encoded_as_if_alone_and_never_padded(
    video: Tensor, kind: str, independent: bool
) -> None:
    model = encoder(attn_type=kind, frame_independent_encoding=independent)
    together = encode(model, video, UNEVEN)
    alone = encode(model, video[1:], gaze([[[70, 5], [], [100]]]))
    real = together.last_hidden_state[1][~UNEVEN.if_padded_gazing[1]]
    torch.testing.assert_close(real, alone.last_hidden_state[0], atol=1e-5, rtol=1e-5)
    assert together.pooler_output is not None
    torch.testing.assert_close(together.pooler_output[1:], alone.pooler_output, atol=1e-5, rtol=1e-5)


def test_only_gazed_patches_are_seen(video: Tensor) -> None:
    changed = video[:1, :1].clone()
    changed[..., 16:, :] = 0
    changed[..., :, 16:] = 0
    upper_left = gaze([[[69]]])
    found, expected = encode(encoder(), changed, upper_left), encode(encoder(), video[:1, :1], upper_left)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)


def test_later_frames_are_seen_in_bidirectional_encoding_only(video: Tensor) -> None:
    changed = video.clone()
    changed[:, 2] = 0
    for kind in KINDS:
        model = encoder(attn_type=kind)
        before, after = encode(model, video, UNEVEN), encode(model, changed, UNEVEN)
        same = torch.equal(before.last_hidden_state[0, :6], after.last_hidden_state[0, :6])
        assert same == (kind != "bidirectional")


def test_a_video_without_any_gaze_has_finite_features(video: Tensor) -> None:
    nothing = gaze([[[7], [], []], [[7], [], []]], [[[1], [], []], [[0], [], []]])
    output = encode(encoder(), video, nothing)
    assert output.pooler_output is not None
    assert output.pooler_output.isfinite().all()
    assert encode(encoder(), video, gaze([[[], [], []]] * 2)).last_hidden_state.shape == (2, 0, 48)


def test_the_pooled_vector_is_left_out_without_a_head(video: Tensor) -> None:
    model = encoder(vision_use_head=False)
    assert not any("head" in name for name in model.state_dict())
    assert encode(model, video, UNEVEN).pooler_output is None


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_frames_embedded_in_parts_give_the_same_features(video: Tensor, frames: int) -> None:
    found = encode(encoder(max_embed_batch_size=frames), video, UNEVEN)
    expected = encode(encoder(), video, UNEVEN)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=1e-5)


def test_gradients_reach_every_weight(video: Tensor) -> None:
    model = encoder()
    output = model(video, gazing_info=UNEVEN)
    (output.last_hidden_state.sum() + output.pooler_output.sum()).backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []


def test_half_precision_encodes_nearly_the_same(video: Tensor) -> None:
    expected = encode(encoder(), video, UNEVEN).last_hidden_state
    found = encode(encoder().to(torch.bfloat16), video.to(torch.bfloat16), UNEVEN).last_hidden_state
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).std() < 0.05 * expected.std()


def test_frames_of_another_size_are_resized() -> None:
    flat = torch.full((1, 1, 3, 60, 90), 0.3)
    found = encode(encoder(), flat, gaze([[[0, 80]]])).last_hidden_state
    expected = encode(encoder(), torch.full((1, 1, 3, 224, 224), 0.3), gaze([[[0, 80]]])).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "shape", [(0, 3, 3, 224, 224), (2, 0, 3, 224, 224), (2, 3, 4, 224, 224), (2, 3, 224, 224)]
)
def test_a_video_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"must be a non-empty.*\(batch, frames, 3, height, width\)"):
        encode(encoder(), torch.zeros(shape), UNEVEN)


def test_a_video_of_whole_numbers_is_refused() -> None:
    with pytest.raises(InputError, match="float video"):
        encode(encoder(), torch.zeros(1, 1, 3, 32, 32, dtype=torch.uint8))


@pytest.mark.parametrize("packed", [False, True])
def test_a_gaze_for_another_patch_size_is_refused(video: Tensor, packed: bool) -> None:
    gazes = UNEVEN.packed() if packed else UNEVEN
    with pytest.raises(InputError, match=r"265 patches a frame, the encoder 340 .*target_patch_size=14"):
        encode(encoder(patch_size=14), video, gazes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_gaze_of_another_length_is_refused(video: Tensor, packed: bool) -> None:
    gazes = UNEVEN.packed() if packed else UNEVEN
    with pytest.raises(InputError, match="covers 3 frames, the video has 2"):
        encode(encoder(), video[:, :2], gazes)


def test_a_gaze_of_another_batch_is_refused(video: Tensor) -> None:
    with pytest.raises(InputError, match=r"gazing_pos \(2, 9\).*must have shape \(1, 9\)"):
        encode(encoder(), video[:1], UNEVEN)
    with pytest.raises(InputError, match="batch of 2 videos, the video holds 1"):
        encode(encoder(), video[:1], UNEVEN.packed())


@pytest.mark.parametrize("position", [-1, 265, 3 * 265])
def test_positions_outside_their_frame_are_refused(video: Tensor, position: int) -> None:
    positions = UNEVEN.gazing_pos.clone()
    positions[0, 0] = position
    gazes = dataclasses.replace(UNEVEN, gazing_pos=positions)
    for form in (gazes, gazes.packed()):
        with pytest.raises(InputError, match="outside the frame their slot belongs to"):
            encode(encoder(), video, form)


def test_positions_of_the_finest_scale_alone_are_refused_with_the_cure(video: Tensor) -> None:
    positions = torch.tensor([[196 * frame + patch for frame in range(3) for patch in (3, 190)]] * 2)
    gazes = {
        "gazing_pos": positions,
        "if_padded_gazing": torch.zeros_like(positions, dtype=torch.bool),
        "num_gazing_each_frame": torch.tensor([2, 2, 2]),
    }
    with pytest.raises(InputError, match=r"of 196 patches a frame, so give the encoder scales=224$"):
        encode(encoder(), video, gazes)
    with pytest.raises(InputError, match="has 196 patches a frame, the encoder 265"):
        encode(encoder(), video[:, :1], _one_frame(gazes) | {"gazing_mask": [torch.zeros(2, 1, 196)]})
    assert encode(encoder(scales=224), video, gazes).last_hidden_state.shape == (2, 6, 48)


def _one_frame(gazes: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "gazing_pos": gazes["gazing_pos"][:, :2],
        "if_padded_gazing": gazes["if_padded_gazing"][:, :2],
        "num_gazing_each_frame": gazes["num_gazing_each_frame"][:1],
    }
