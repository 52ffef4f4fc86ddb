"""Hooks, adapters and other parts put into the model: they change what they change in the released one."""

import copy
from contextlib import nullcontext
from types import MethodType

import pytest
import torch

from autogaze.errors import BackendUnavailable, InputError
from autogaze.models.autogaze import GazeStream
from autogaze.models.autogaze.processing_autogaze import AutoGazeImageProcessor  # noqa: F401
from tests.models.autogaze.released_calls.calls import CASE, PASTS, VIDEO, streamed
from tests.reference.cases import gaze_model
from tests.reference.fill import clip


@pytest.mark.parametrize("place", sorted(CASE["hooks"]["rolled"]))
def test_hooks_change_what_they_change_in_the_released_model(model, place):
    def rolled(module, arguments, output):
        return (output[0].roll(1, -1), *output[1:]) if isinstance(output, tuple) else output.roll(1, -1)

    ratio = CASE["hooks"]["gazing_ratio"]
    assert model({"video": VIDEO}, gazing_ratio=ratio).gazing_pos.tolist() == CASE["hooks"]["none"]
    handle = model.get_submodule(place).register_forward_hook(rolled)
    noted = pytest.warns(UserWarning, match="'eager' is used") if "gaze_decoder" in place else nullcontext()
    with noted:
        chosen = model({"video": VIDEO}, gazing_ratio=ratio, generate_only=True).gazing_pos.tolist()
    assert chosen == CASE["hooks"]["rolled"][place]
    if "gaze_decoder" in place:
        with pytest.raises(BackendUnavailable, match=r"would ignore a hook.*use 'eager'"):
            model({"video": VIDEO}, gazing_ratio=ratio, engine="native")
    handle.remove()
    assert model({"video": VIDEO}, gazing_ratio=ratio).gazing_pos.tolist() == CASE["hooks"]["none"]


def test_layers_show_hooks_what_the_released_layers_show(model):
    seen = []
    layer = model.gazing_model.gaze_decoder.model.layers[0]
    layer.register_forward_hook(lambda module, arguments, output: seen.append(output[0].shape[1]))
    with pytest.warns(UserWarning, match=r"engine 'eager' is used.*layers\.0"):
        model({"video": VIDEO[:, :2]}, gazing_ratio=0.08, generate_only=True)
    assert seen == [196, 10, 10, 1 + 196, 10, 10]


class Adapter(torch.nn.Module):
    """What adds to a linear layer, as adapters of low rank do."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.down = torch.nn.Linear(base.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, base.out_features, bias=False)

    @property
    def weight(self):
        return self.base_layer.weight

    def forward(self, x):
        return self.base_layer(x) + self.up(self.down(x))

    def merged(self):
        merged = copy.deepcopy(self.base_layer)
        merged.weight.data += self.up.weight @ self.down.weight
        return merged


ADAPTED = [
    "model.layers.0.self_attn.q_proj",
    "model.layers.1.self_attn.v_proj",
    "model.layers.0.mlp.gate_proj",
    "lm_head",
]


def adapted(model):
    torch.manual_seed(0)
    decoder = model.gazing_model.gaze_decoder
    for name in ADAPTED:
        decoder.set_submodule(name, Adapter(decoder.get_submodule(name)))
    return model


def test_adapters_choose_score_stream_and_learn_as_if_merged(model):
    with torch.inference_mode(False):
        model = adapted(model)
        merged = copy.deepcopy(model)
        decoder = merged.gazing_model.gaze_decoder
        for name in ADAPTED:
            decoder.set_submodule(name, decoder.get_submodule(name).merged())
        plain = gaze_model(CASE["config"], CASE["weight_seed"])
    with pytest.warns(UserWarning, match="would ignore Adapter at gaze_decoder"):
        ours = model({"video": VIDEO}, gazing_ratio=0.1, task_loss_requirement=-0.5)
    theirs = merged({"video": VIDEO}, gazing_ratio=0.1, task_loss_requirement=-0.5)
    assert ours.patch_hash() == theirs.patch_hash()
    assert ours.patch_hash() != plain({"video": VIDEO}, gazing_ratio=0.1).patch_hash()
    torch.testing.assert_close(ours.log_action_probs, theirs.log_action_probs, atol=1e-4, rtol=1e-4)
    with pytest.warns(UserWarning, match="'eager' is used"):
        stream = GazeStream(model, gazing_ratio=0.1, task_loss_requirement=-0.5)
    assert stream.push(VIDEO).patch_hash() == theirs.patch_hash()
    with torch.inference_mode(False), torch.enable_grad():
        info = {name: ours[name].clone() for name in ("gazing_pos", "if_padded_gazing")}
        info["num_gazing_each_frame"] = ours.num_gazing_each_frame.tolist()
        model({"video": VIDEO.clone()}, gazing_info=info).log_action_probs.sum().backward()
    for name in ADAPTED:
        assert model.gazing_model.gaze_decoder.get_submodule(name).up.weight.grad.abs().max() > 0


def test_streams_refuse_hooks_that_come_later(model):
    stream = GazeStream(model, gazing_ratio=0.1)
    stream.push(VIDEO[:, 0])
    model.gazing_model.gaze_decoder.model.layers[0].register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match="since the stream began"):
        stream.push(VIDEO[:, 1])


@pytest.mark.parametrize(
    ("alter", "named"),
    [
        (lambda d: setattr(d.model.layers[1], "forward", d.model.layers[1].forward), "model.layers.1"),
        (lambda d: d.register_forward_pre_hook(lambda *_: None), "gaze_decoder"),
        (lambda d: d.lm_head.register_full_backward_hook(lambda *_: None), "lm_head"),
        (lambda d: setattr(d.lm_head, "bias", torch.nn.Parameter(torch.zeros(2660))), "Linear with a bias"),
    ],
)
def test_whatever_hangs_on_the_decoder_is_named(model, alter, named):
    with torch.inference_mode(False):
        assert model.gazing_model.gaze_decoder.alteration() is None
        alter(model.gazing_model.gaze_decoder)
    assert named in model.gazing_model.gaze_decoder.alteration()


def test_another_generate_is_called_as_the_released_package_calls_it(model):
    original, calls = model.gazing_model.generate, []

    def mine(self, video, **settings):
        calls.append(settings)
        made = original(video, **settings)
        return made | {"gazing_pos": made["gazing_pos"].flip(1)}

    expected = model({"video": VIDEO[:, :1]}, gazing_ratio=0.1).gazing_pos.flip(1)
    model.gazing_model.generate = MethodType(mine, model.gazing_model)
    output = model({"video": VIDEO[:, :1]}, gazing_ratio=0.1)
    assert torch.equal(output.gazing_pos, expected)
    assert output.log_action_probs.shape == expected.shape
    (settings,) = calls
    assert settings.pop("max_gaze_tokens_each_frame").tolist() == [26]
    assert settings == {
        "task_loss_requirement": None,
        "do_sample": False,
        "use_cache": False,
    } | dict.fromkeys(PASTS)
    model.train()({"video": VIDEO[:, :1]}, gazing_ratio=0.1, temperature=2.0, generate_only=True)
    assert (calls[-1]["do_sample"], calls[-1]["temperature"]) == (True, 2.0)
    with pytest.raises(InputError, match="not handed on"):
        model({"video": VIDEO}, gazing_ratio=0.1, engine="eager")


def test_another_generate_streams_looks_at_tiles_and_rolls_out(model):
    original, seen = model.gazing_model.generate, []

    def mine(video, **settings):
        seen.append(video.shape)
        return original(video, **settings)

    big = clip(9, 1, 1, 392)
    tiles = {"target_scales": [56, 112, 196, 392], "target_patch_size": 14, "gazing_ratio": 0.05}
    expected = model({"video": big}, **tiles).patch_hash()
    streams, _ = streamed(model, VIDEO, [0.1] * 4)
    model.gazing_model.generate = mine
    assert model({"video": big}, **tiles).patch_hash() == expected
    assert seen.pop() == (4, 1, 3, 196, 196)
    again, _ = streamed(model, VIDEO, [0.1] * 4)
    assert [o.patch_hash() for o in again] == [o.patch_hash() for o in streams]
    model.gazing_ratio_each_frame_config = {"sample_strategy_during_inference": "self", "self": {}}
    model({"video": VIDEO})
    assert len(seen) == 6


def test_another_embed_is_looked_through(model):
    original = model.gazing_model.embed

    def upside_down(video, **settings):
        return original(video=video.flip(-2), **settings)

    expected = model({"video": VIDEO.flip(-2)}, gazing_ratio=0.1)
    model.gazing_model.embed = upside_down
    output = model({"video": VIDEO}, gazing_ratio=0.1)
    assert output.patch_hash() == expected.patch_hash()
    stream, _ = streamed(model, VIDEO, [0.1] * 4)
    positions = [output.gazing_pos + 265 * t for t, output in enumerate(stream)]
    assert torch.equal(torch.cat(positions, dim=1), expected.gazing_pos)


def test_another_forward_of_the_gazing_model_scores(model):
    def forward(video, gazing_info):
        shape = gazing_info["gazing_pos"].shape
        return type(
            "Output", (), {"gaze_probs": torch.ones(shape), "task_loss_prediction": torch.zeros(shape)}
        )

    model.gazing_model.forward = forward
    output = model({"video": VIDEO}, gazing_ratio=0.1)
    assert output.log_action_probs.abs().max() < 1e-6
    assert not output.task_loss_prediction.any()


def test_another_generate_of_the_decoder_is_refused(model):
    model.gazing_model.gaze_decoder.generate = lambda **_: None
    with pytest.raises(InputError, match=r"engine=.*GazeStream"):
        model({"video": VIDEO}, gazing_ratio=0.1)
