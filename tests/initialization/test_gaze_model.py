"""A new gaze model sees detail, knows where it has looked and points, before it has learnt anything."""

import pytest
import torch
from torch import Tensor

from autogaze.gaze.grid import PatchGrid, cover
from autogaze.initialization.gaze_model import _Channels, cosine_codes, initialize
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig
from tests.reference.cases import gaze_model

GRID = PatchGrid((32, 64, 112, 224), 16)


def new(seed: int = 0) -> AutoGaze:
    model = AutoGaze(AutoGazeConfig())
    initialize(model, seed)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> AutoGaze:
    return new()


def flat_but_for_a_corner(frames: int) -> Tensor:
    """Grey frames with blots in the upper left quarter."""
    blots = torch.randn(1, 1, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    video = torch.zeros(1, frames, 3, 224, 224)
    video[..., :112, :112] = blots.repeat_interleave(4, dim=-1).repeat_interleave(4, dim=-2)
    return video


def places(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column, from 0 to 1, of the centres of patches."""
    centres = []
    for first, side in ((0, 2), (4, 4), (20, 7), (69, 14)):
        here = patches[(patches >= first) & (patches < first + side * side)] - first
        centres.append(torch.stack([here // side, here % side]).add(0.5) / side)
    rows, columns = torch.cat(centres, dim=1)
    return rows, columns


def test_it_looks_where_there_is_detail(model: AutoGaze) -> None:
    with torch.inference_mode():
        gaze = model({"video": flat_but_for_a_corner(1)}, gazing_ratio=0.05)
    rows, columns = places(gaze.gazing_pos[0])
    assert ((rows < 0.6) & (columns < 0.6)).float().mean() > 0.8


def test_it_does_not_look_again_at_what_does_not_change(model: AutoGaze) -> None:
    with torch.inference_mode():
        gaze = model({"video": flat_but_for_a_corner(3)}, gazing_ratio=0.05)
    first, second, third = ({*part.tolist()} for part in (gaze.gazing_pos[0] % 265).chunk(3))
    assert len(first & second) <= 3
    assert len(second & third) <= 3
    with torch.inference_mode():
        forgetful = _without_memory(new())({"video": flat_but_for_a_corner(3)}, gazing_ratio=0.05)
    _, second, third = ({*part.tolist()} for part in (forgetful.gazing_pos[0] % 265).chunk(3))
    assert len(second & third) >= 10


def _without_memory(model: AutoGaze) -> AutoGaze:
    output = model.gazing_model.gaze_decoder.model.layers[0].self_attn.o_proj.weight
    with torch.no_grad():
        output.zero_()
    return model


def test_a_patch_that_is_pointed_at_is_chosen_by_every_head(model: AutoGaze) -> None:
    arch, decoder = model.arch, model.gazing_model.gaze_decoder
    channels, finest = _Channels(arch), arch.grid.offsets[-1]
    hidden = torch.zeros(arch.eos - finest, arch.width)
    hidden[:, channels.own] = decoder.model.embed_tokens.weight[finest:-1, channels.own]
    chosen = decoder.lm_head(hidden).view(-1, arch.group, arch.vocabulary).argmax(dim=-1)
    assert torch.equal(chosen, torch.arange(finest, arch.eos)[:, None].expand(-1, arch.group))


def test_a_vision_token_and_the_patch_at_its_place_have_one_code(model: AutoGaze) -> None:
    own, finest = _Channels(model.arch).own, model.arch.grid.offsets[-1]
    embedding = model.gazing_model.gaze_decoder.model.embed_tokens.weight[finest:-1, own]
    torch.testing.assert_close(model.gazing_model.connector.pos_embed[:, own], embedding)


def test_no_patch_is_likelier_than_another_by_far(model: AutoGaze) -> None:
    video = torch.randn(1, 2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        gaze = model({"video": video}, gazing_ratio=0.1, generate_only=False)
    assert gaze.log_action_probs is not None
    assert -7.0 < float(gaze.log_action_probs.mean()) < -3.0  # evenly, it would be -5.6


def test_it_follows_from_the_seed(model: AutoGaze) -> None:
    one, again, other = (each.state_dict() for each in (model, new(0), new(1)))
    assert all(torch.equal(one[name], again[name]) for name in one)
    trunk = "gazing_model.vision_model.blocks.0.conv3d.weight"
    assert not torch.equal(one[trunk], other[trunk])


def test_a_model_that_is_too_small_starts_at_random() -> None:
    model = gaze_model("tiny", 3)
    initialize(model, 0)
    assert all(bool(weights.isfinite().all()) for weights in model.parameters())
    assert all(bool(weights.any()) for weights in model.parameters() if weights.dim() > 1)


def test_codes_have_one_length_and_agree_most_at_one_place() -> None:
    codes = cosine_codes(GRID, 96)
    torch.testing.assert_close(codes.square().mean(dim=1), torch.ones(265))
    for first, count in zip(GRID.offsets, GRID.counts, strict=True):
        of_scale = codes[first : first + count]
        assert torch.equal((of_scale @ of_scale.T).argmax(dim=1), torch.arange(count))


def test_a_coarse_patch_agrees_best_with_a_fine_one_inside_it() -> None:
    codes, inside = cosine_codes(GRID, 96), cover(GRID).flatten(1) > 0
    for patch in range(GRID.offsets[-1]):
        assert inside[patch, (codes[patch] @ codes[GRID.offsets[-1] :].T).argmax()]


def test_a_map_is_a_sum_of_codes() -> None:
    codes = cosine_codes(GRID, 196)[GRID.offsets[-1] :]
    weights = torch.rand(196, generator=torch.Generator().manual_seed(0))
    shown = (weights @ codes) @ codes.T / 196
    assert torch.corrcoef(torch.stack([shown, weights]))[0, 1] > 0.9
