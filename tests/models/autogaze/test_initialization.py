"""A new gaze model can point before it has learnt at what."""

import torch

from autogaze.models.autogaze import AutoGaze, AutoGazeConfig
from autogaze.models.autogaze.initialization import _Channels, initialize
from tests.reference.cases import gaze_model


def new(seed: int = 0) -> AutoGaze:
    model = AutoGaze(AutoGazeConfig())
    initialize(model, seed)
    return model.eval()


def test_what_is_pointed_at_is_chosen_by_every_head() -> None:
    model = new()
    arch, decoder = model.arch, model.gazing_model.gaze_decoder
    channels, patches = _Channels(arch), arch.grid.patches_per_frame
    hidden = torch.zeros(patches, arch.width)
    hidden[:, channels.pointed] = decoder.model.embed_tokens.weight[:patches, channels.own]
    chosen = decoder.lm_head(hidden).view(patches, arch.group, arch.vocabulary).argmax(dim=-1)
    assert torch.equal(chosen, torch.arange(patches)[:, None].expand(-1, arch.group))


def test_a_vision_token_and_the_patch_at_its_place_have_one_code() -> None:
    model = new()
    own = _Channels(model.arch).own
    finest = model.arch.grid.offsets[-1]
    embedding = model.gazing_model.gaze_decoder.model.embed_tokens.weight[finest:-1, own]
    torch.testing.assert_close(model.gazing_model.connector.pos_embed[:, own], embedding)


def test_no_patch_is_likelier_than_another_by_far() -> None:
    model = new()
    video = torch.randn(1, 2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        gaze = model({"video": video}, gazing_ratio=0.1, generate_only=False)
    assert gaze.log_action_probs is not None
    assert -7.0 < float(gaze.log_action_probs.mean()) < -3.0  # evenly, it would be -5.6


def test_it_follows_from_the_seed() -> None:
    one, again, other = (new(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["gazing_model.connector.pos_embed"], other["gazing_model.connector.pos_embed"])


def test_a_model_of_any_size_can_begin_so() -> None:
    model = gaze_model("tiny", 3)
    initialize(model, 0)
    assert all(bool(weights.isfinite().all()) for weights in model.parameters())
