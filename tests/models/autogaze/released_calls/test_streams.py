"""Streams by the released keywords, and what their pasts refuse."""

import pytest
import torch

from autogaze.errors import InputError
from autogaze.models.autogaze import GazeStream
from autogaze.models.autogaze.processing_autogaze import AutoGazeImageProcessor  # noqa: F401
from tests.models.autogaze.released_calls.calls import CASE, PASTS, VIDEO, nudge, streamed
from tests.reference.fill import clip


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
