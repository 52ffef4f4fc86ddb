"""What code that was written on the released package calls, and what it got there."""

import copy
import pickle

import pytest
import torch
from transformers import AutoConfig, AutoModel

from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeConfig, GazeModelConfig
from autogaze.models.autogaze.autogaze import AutoGaze as FromReleasedModule
from autogaze.models.autogaze.modeling_autogaze import AutoGazeModel
from autogaze.models.autogaze.processing_autogaze import AutoGazeImageProcessor  # noqa: F401
from tests.models.autogaze.released_calls.calls import CASE, VIDEO, nudge


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


def test_sizes_cannot_be_set_to_no_effect(model):
    for name in ("input_img_size", "num_multi_token_pred", "num_vision_tokens_each_frame"):
        with pytest.raises(AttributeError):
            setattr(model.gazing_model, name, 7)


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
