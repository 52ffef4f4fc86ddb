"""What code that was written on the released package calls, and what it got there."""

import copy
import pickle
from contextlib import nullcontext
from types import MethodType

import pytest
import torch
from transformers import AutoConfig, AutoModel

from autogaze.errors import BackendUnavailable, InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig, GazeModelConfig, GazeStream
from autogaze.models.autogaze.autogaze import AutoGaze as FromReleasedModule
from autogaze.models.autogaze.modeling_autogaze import AutoGazeModel
from autogaze.models.autogaze.processing_autogaze import AutoGazeImageProcessor  # noqa: F401
from tests.reference.cases import gaze_model, load
from tests.reference.fill import clip

CASE = load("released_calls")
VIDEO = clip(CASE["clip_seed"], CASE["batch"], CASE["frames"])
PASTS = ("past_key_values", "past_inputs_embeds", "past_attention_mask", "past_conv_values")


@pytest.fixture
def model():
    """A model of its own for each test, since they change it; its weights can be trained."""
    with torch.inference_mode(False):
        return copy.deepcopy(gaze_model(CASE["config"], CASE["weight_seed"]))


@pytest.fixture(scope="module")
def untouched():
    return gaze_model(CASE["config"], CASE["weight_seed"])


@pytest.fixture(autouse=True)
def _inference():
    with torch.inference_mode():
        yield


def nudge(model):
    """Change the weights, as a step of training does."""
    with torch.inference_mode(False), torch.no_grad():
        model.gazing_model.connector.pos_embed.add_(1)


def agrees(found, sample):
    assert list(found.shape) == sample["shape"]
    values = found.flatten()[sample["index"]]
    return (values - torch.tensor(sample["value"])).abs().max() <= 1e-4 * sample["std"]


def test_the_vision_model_gives_features_by_channel_and_its_past(untouched):
    vision_model, released = untouched.gazing_model.vision_model, CASE["vision_model"]
    features, past = vision_model(VIDEO)
    assert agrees(features, released["features"])
    assert agrees(past[0], released["past"])
    first, seen = vision_model(VIDEO[:, :1], use_cache=True)
    rest, _ = vision_model(VIDEO[:, 1:], use_cache=True, past_conv_values=seen)
    torch.testing.assert_close(torch.cat([first, rest], dim=2), features)
    pictures, _ = vision_model(VIDEO[:, 0])
    torch.testing.assert_close(pictures, first)


def test_embeddings_come_with_what_they_are(untouched):
    released = CASE["embed"]
    ids = [torch.tensor(frame) for frame in released["gaze_pos_ids"]]
    embeds, is_gaze, source, mask, past = untouched.gazing_model.embed(video=VIDEO, gaze_pos_ids=ids)
    assert agrees(torch.cat(embeds, dim=1), released["embeds"])
    assert [int(part.sum()) for part in is_gaze] == released["gaze_token_mask"]
    assert [part.tolist() for part in source[1::2]] == released["source"]
    assert [part.tolist() for part in mask[1::2]] == released["attention_mask"]
    assert agrees(past[0], CASE["vision_model"]["past"])
    assert len(untouched.gazing_model.embed(video=VIDEO)[0]) == CASE["frames"]


def test_the_decoder_runs_on_embeddings_and_hides_what_the_mask_hides(untouched):
    decoder, released = untouched.gazing_model.gaze_decoder, CASE["gaze_decoder"]
    tokens = torch.cat(untouched.gazing_model.embed(video=VIDEO)[0], dim=1)
    mask = torch.ones(tokens.shape[:2], dtype=torch.int64)
    mask[:, released["hidden_tokens"]] = 0
    given = {"inputs_embeds": tokens, "attention_mask": mask, "position_ids": mask.cumsum(dim=-1) - 1}
    for backend in ("eager", "sdpa"):
        decoder.model.attn_implementation = backend
        last = decoder.model(**given).last_hidden_state
        assert agrees(last, released["last_hidden_state"])
        assert agrees(last[:, released["hidden_tokens"]], released["at_hidden_tokens"])
    output = decoder(**given, output_hidden_states=True)
    assert agrees(output.hidden_states[1], released["first_layer"])
    assert agrees(output["logits"], released["logits"])
    assert agrees(output.task_loss_prediction, released["task_loss_prediction"])
    torch.testing.assert_close(decoder(**given, logits_to_keep=1).logits, output.logits[:, -1:])


def test_generate_and_forward_of_the_gazing_model_are_the_released_ones(untouched):
    released = CASE["generate"]
    chosen = untouched.gazing_model.generate(
        VIDEO,
        max_gaze_tokens_each_frame=torch.tensor(released["max_gaze_tokens_each_frame"]),
        task_loss_requirement=torch.full((1, 4), released["task_loss_requirement"]),
    )
    for name in ("gazing_pos", "num_gazing_each_frame"):
        assert chosen[name].tolist() == released[name]
    assert chosen["if_padded_gazing"].int().tolist() == released["if_padded_gazing"]
    assert chosen["past_key_values"] is None
    scored = untouched.gazing_model(VIDEO, chosen)
    for name in ("gaze_probs", "task_loss_prediction"):
        torch.testing.assert_close(scored[name], torch.tensor(CASE["forward"][name]), atol=1e-5, rtol=1e-5)


def test_sizes_have_their_released_names(untouched):
    gazing, decoder = untouched.gazing_model, untouched.config.gaze_model_config.gaze_decoder_config
    assert (gazing.input_img_size, gazing.num_multi_token_pred, gazing.frame_sampling_rate) == (224, 10, 1)
    assert gazing.num_vision_tokens_each_frame == gazing.gaze_decoder_config.eos_token_id == 265
    assert decoder.vocab_size == gazing.gaze_decoder_config.vocab_size == 266
    assert untouched.num_vision_tokens_each_scale_each_frame == [4, 16, 49, 196]
    assert (untouched.frame_sampling_rate, untouched.attn_mode) == (1, "sdpa")


def test_the_released_modules_hold_the_released_classes(untouched):
    assert FromReleasedModule is AutoGaze
    assert type(untouched.gazing_model) is AutoGazeModel
    alone = AutoGazeModel(GazeModelConfig(num_vision_tokens_each_frame=196))
    assert alone.arch.grid.scales == (224,)
    assert AutoGazeModel(untouched.config.gaze_model_config).arch == untouched.arch


def test_scores_are_there_when_they_are_read(model):
    released = CASE["call"]
    output = model({"video": VIDEO}, gazing_ratio=released["gazing_ratio"])
    assert agrees(output["log_action_probs"], released["log_action_probs"])
    assert agrees(output.task_loss_prediction, released["task_loss_prediction"])
    at_once = model({"video": VIDEO}, gazing_ratio=released["gazing_ratio"], generate_only=False)
    assert torch.equal(at_once.log_action_probs, output.log_action_probs)
    assert model({"video": VIDEO}, gazing_ratio=0.1, generate_only=True).log_action_probs is None


def test_scores_that_nobody_read_in_time_are_refused_not_none(model):
    stale = model({"video": VIDEO}, gazing_ratio=0.1)
    model({"video": VIDEO}, gazing_ratio=0.1)
    with pytest.raises(InputError, match=r"called again or trained since.*generate_only=False"):
        stale["log_action_probs"]
    trained = model({"video": VIDEO}, gazing_ratio=0.1)
    nudge(model)
    with pytest.raises(InputError, match="called again or trained since"):
        assert trained.task_loss_prediction is None
    with pytest.raises(InputError, match="called again or trained since"):
        assert pickle.loads(pickle.dumps(trained)).log_action_probs is None


def test_outputs_take_their_scores_along_when_they_are_copied(model):
    output = model({"video": VIDEO}, gazing_ratio=0.1)
    copied = pickle.loads(pickle.dumps(output))
    model({"video": VIDEO}, gazing_ratio=0.1)
    assert torch.equal(copied.log_action_probs, output.log_action_probs)


def test_outputs_that_are_kept_keep_no_vision_tokens(model):
    kept = [model({"video": VIDEO}, gazing_ratio=0.1) for _ in range(2)]
    assert [output._scorer() is None for output in kept] == [True, False]
    assert copy.deepcopy(model)._unscored is None


def test_scores_that_are_read_later_have_the_gradients_of_the_call(model):
    with torch.inference_mode(False), torch.enable_grad():
        output = model({"video": VIDEO.clone()}, gazing_ratio=0.1)
    with torch.no_grad():
        scores = output.log_action_probs
    assert scores.requires_grad
    with torch.no_grad():
        assert not model({"video": VIDEO}, gazing_ratio=0.1).log_action_probs.requires_grad


def streamed(model, video, ratios, **first):
    past = dict.fromkeys(PASTS)
    outputs = []
    for frame, ratio in zip(video.split(1, dim=1), ratios):
        limits = {"gazing_ratio": ratio, "generate_only": True, "use_cache": True}
        outputs.append(model({"video": frame}, **limits, **past, **first))
        names = ("past_key_values", "past_input_embeds", "past_attention_mask", "past_conv_values")
        past = {keyword: outputs[-1][name] for keyword, name in zip(PASTS, names)}
    return outputs, past


def test_streams_by_the_released_keywords_get_the_released_patches(untouched):
    case = CASE["stream"]
    video = clip(case["clip_seed"], 1, len(case["gazing_ratio"]))
    outputs, _ = streamed(untouched, video, case["gazing_ratio"])
    assert [output["gazing_pos"].tolist() for output in outputs] == case["gazing_pos"]


def test_streams_by_keyword_stop_at_requirements_as_whole_clips_do(untouched):
    video = clip(7, 2, 5)
    whole = untouched({"video": video}, gazing_ratio=0.2, task_loss_requirement=-0.4)
    past = dict.fromkeys(PASTS)
    counts = []
    for part in video.split(2, dim=1):
        output = untouched(
            {"video": part},
            gazing_ratio=0.2,
            task_loss_requirement=-0.4,
            generate_only=True,
            use_cache=True,
            **past,
        )
        past = dict.fromkeys(PASTS, output.past_key_values)
        counts.append(output.gazes_each_frame())
    assert whole.if_padded_gazing.any()
    assert torch.equal(torch.cat(counts, dim=1), whole.gazes_each_frame())


def test_a_stream_that_keeps_everything_goes_on_where_it_was_saved(untouched):
    video = clip(8, 1, 9)
    stream = GazeStream(untouched, gazing_ratio=0.1, policy="keep", window=2)
    stream.push(video[:, :6])
    restored = GazeStream.load(untouched, stream.state_dict())
    assert torch.equal(restored.push(video[:, 6:]).gazing_pos, stream.push(video[:, 6:]).gazing_pos)
    whole = untouched({"video": video}, gazing_ratio=0.1)
    again = GazeStream(untouched, gazing_ratio=0.1, policy="keep", window=2).push(video)
    assert again.patch_hash() == whole.patch_hash()


def test_streams_saved_with_the_channels_of_their_past_last_go_on(untouched):
    stream = GazeStream(untouched, gazing_ratio=0.1)
    stream.push(VIDEO[:, :2])
    state = stream.state_dict()
    state["past"] = [past.permute(0, 2, 3, 4, 1) for past in state["past"]]
    restored = GazeStream.load(untouched, state)
    assert torch.equal(restored.push(VIDEO[:, 2:]).gazing_pos, stream.push(VIDEO[:, 2:]).gazing_pos)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda past: past | {"past_conv_values": None}, "go together"),
        (lambda past: dict.fromkeys(PASTS, (torch.zeros(1),)), "past_key_values is a tuple"),
        (lambda past: past | {"generate_only": False}, "set generate_only=True"),
    ],
)
def test_pasts_that_do_not_belong_together_are_refused(untouched, spoil, words):
    _, past = streamed(untouched, VIDEO[:, :2], [0.1, 0.1])
    settings = {"gazing_ratio": 0.1, "generate_only": True, "use_cache": True}
    with pytest.raises(InputError, match=words):
        untouched({"video": VIDEO[:, 2:]}, **{**settings, **spoil(past)})


def test_a_past_is_gone_on_from_once_and_with_the_same_weights(model):
    outputs, past = streamed(model, VIDEO[:, :2], [0.1, 0.1])
    settings = {"gazing_ratio": 0.1, "generate_only": True}
    with pytest.raises(InputError, match="is of 1 frames and the stream has gone on to 2"):
        model({"video": VIDEO[:, 1:2]}, **settings, **dict.fromkeys(PASTS, outputs[0].past_key_values))
    assert model({"video": VIDEO[:, 2:3]}, **settings, **past).past_key_values is None
    _, past = streamed(model, VIDEO[:, :1], [0.1])
    nudge(model)
    with pytest.raises(InputError, match="changed since the stream began"):
        model({"video": VIDEO[:, 1:2]}, **settings, **past)


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


def test_sizes_cannot_be_set_to_no_effect(model):
    for name in ("input_img_size", "num_multi_token_pred", "num_vision_tokens_each_frame"):
        with pytest.raises(AttributeError):
            setattr(model.gazing_model, name, 7)


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


@pytest.mark.parametrize(
    ("misused", "words"),
    [
        (lambda m: m({"video": VIDEO}, gaze_ratio=0.1), "did you mean 'gazing_ratio'"),
        (lambda m: m({"video": VIDEO}, past_input_embeds=None), "did you mean 'past_inputs_embeds'"),
        (lambda m: m.gazing_model.generate(VIDEO, max_gaze_tokens=3), "'max_gaze_tokens_each_frame'"),
        (lambda m: m.gazing_model.generate(VIDEO, max_gaze_tokens_each_frame=[1, 2]), "each of 4 frames"),
        (lambda m: m.gazing_model.generate(VIDEO, max_gaze_tokens_each_frame=0), "whole number from 1"),
        (lambda m: m.gazing_model.generate(VIDEO, logits_processor=[]), "engine=.*GazeStream"),
        (lambda m: m.gazing_model.logits_processor.append(None), "engine=.*GazeStream"),
        (lambda m: setattr(m.gazing_model, "logits_processor", []), "engine=.*GazeStream"),
        (lambda m: m.gazing_model.gaze_decoder.generate(inputs_embeds=None), "engine=.*GazeStream"),
        (lambda m: m.gazing_model.vision_model(VIDEO, past_conv=None), "did you mean 'past_conv_values'"),
        (lambda m: m.gazing_model.vision_model(VIDEO[0, 0]), "vision model was given"),
        (lambda m: m.gazing_model.embed(videos=VIDEO), "did you mean 'video'"),
        (lambda m: m.gazing_model.embed(), "neither video nor gaze_pos_ids"),
        (lambda m: m.gazing_model.embed(VIDEO, [torch.tensor([[1]])]), "4 frames, gaze_pos_ids 1"),
        (lambda m: m.gazing_model.embed(VIDEO[..., :100]), "224, 224"),
        (lambda m: m.gazing_model.gaze_decoder.model(input_embeds=0), "did you mean 'inputs_embeds'"),
        (lambda m: m.gazing_model.gaze_decoder.model(), "either input_ids or inputs_embeds"),
        (
            lambda m: m.gazing_model.gaze_decoder(input_ids=torch.zeros(1, 1).long(), use_cache=True),
            "GazeStream",
        ),
        (lambda m: m.train()({"video": VIDEO}, gazing_ratio=0.1, use_cache=True), r"eval\(\)"),
        (lambda m: m({"video": VIDEO}, gazing_ratio=0.1, use_cache=True, engine="eager"), "not handed on"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(model, misused, words):
    with pytest.raises(InputError, match=words):
        misused(model)


def test_another_generate_of_the_decoder_is_refused(model):
    model.gazing_model.gaze_decoder.generate = lambda **_: None
    with pytest.raises(InputError, match=r"engine=.*GazeStream"):
        model({"video": VIDEO}, gazing_ratio=0.1)


def test_transformers_finds_the_model_by_its_type(untouched, tmp_path):
    untouched.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is AutoGazeConfig
    loaded = AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    assert type(loaded) is AutoGaze
    assert loaded.attn_implementation == "eager"
    config._attn_implementation = "flex_attention"
    assert AutoGaze(config).attn_implementation == "flex"


def test_strategies_set_on_the_model_count(model):
    model.gazing_ratio_config = {"sample_strategy_during_inference": "fixed", "fixed": {"gazing_ratio": 0.02}}
    assert model({"video": VIDEO}).gazes_each_frame().tolist() == [[5, 5, 5, 5]]
    model.has_task_loss_requirement_during_inference = True
    model.task_loss_requirement_config = {
        "sample_strategy_during_inference": "fixed",
        "fixed": {"task_loss_requirement": 100.0},
    }
    assert model({"video": VIDEO}).gazes_each_frame().tolist() == [[1, 1, 1, 1]]
