"""The published evaluation as a workload: its clips, its figures, and what it keeps for pictures."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autogaze.embedded import clip_path
from autogaze.errors import InputError
from autogaze.video.preprocessing import fit_frames
from autogaze.video.video_file import open_source
from suites import evaluation
from suites.evaluation import EvaluatedClip, Evaluation, clips_of, parse_clip
from suites.loader import load_suite
from suites.settings import PUBLISHED_SETTINGS
from suites.video import AXES, EndToEnd
from suites.workload import Inputs, Sharing


def axes(**changes):
    usual = {name: axis.default for name, axis in Evaluation.axes.items()}
    return usual | {"setting": "ratio_0.02", "chunk": 2} | changes


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Five frames of noise, as a .npz."""
    path = tmp_path_factory.mktemp("clip") / "clip.npz"
    np.savez(path, frames=np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), dtype=np.uint8))
    return str(path)


def test_clips_follow_each_other_unless_their_starts_are_given():
    names = [clip.name for clip in clips_of(40, 16, (), 4)]
    assert names == ["clip_00_start_0000", "clip_01_start_0016", "clip_02_start_0032"]
    assert clips_of(40, 16, (5, 41, 3), 4) == [EvaluatedClip(0, 5), EvaluatedClip(1, 3)]
    assert clips_of(1000, 16, (), 2) == [EvaluatedClip(0, 0), EvaluatedClip(1, 16)]


def test_starts_that_all_lie_behind_the_end_are_refused():
    with pytest.raises(InputError, match=r"has 40 frames: asked for were \[40, 99\], starts from 0 to 39"):
        clips_of(40, 16, (40, 99), 4)


@given(st.integers(0, 10**6), st.integers(0, 10**7))
def test_a_clips_name_tells_its_number_and_start(number, start):
    clip = EvaluatedClip(number, start)
    assert parse_clip(clip.name) == clip


@pytest.mark.parametrize("name", ["clip_0", "0", "clip_00_start_-1", "clip_00_start_0000 "])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="must have the form clip_01_start_0016"):
        Evaluation.axes["clip"].check(name)


def test_the_suite_covers_the_embedded_clip_at_the_published_settings():
    suite = load_suite("evaluate")
    cells = [dict(point.axes) for point in suite.points]
    clips = [clip.name for clip in clips_of(open_source(clip_path()).frames, 16, (), 4)]
    settings = [setting.name for setting in PUBLISHED_SETTINGS]
    assert [(cell["clip"], cell["setting"]) for cell in cells] == [(c, s) for c in clips for s in settings]
    assert suite.min_samples > 1


def test_a_clip_behind_the_end_is_refused_before_anything_is_loaded(clip):
    Evaluation.check(axes(clip="clip_00_start_0004"), Inputs(video=clip))
    with pytest.raises(InputError, match="starts behind the end of the video, which has 5 frames"):
        Evaluation.check(axes(clip="clip_00_start_0005"), Inputs(video=clip))


def test_models_are_loaded_once_for_all_cells_of_a_process(clip, monkeypatch):
    made = []
    original = evaluation.Pipeline
    monkeypatch.setattr(evaluation, "Pipeline", lambda *a, **k: made.append(a) or original(*a, **k))
    evaluation._pipeline.cache_clear()
    for name in ("clip_00_start_0000", "clip_01_start_0002"):
        for setting in ("ratio_0.02", "task_0.70"):
            Evaluation(axes(clip=name, setting=setting), Inputs(video=clip))
    assert len(made) == 1
    assert isinstance(Evaluation, Sharing)


def test_figures_are_those_of_the_whole_way_on_the_same_frames(clip):
    cell = Evaluation(axes(chunk=5), Inputs(video=clip))
    whole = EndToEnd({name: axis.default for name, axis in AXES.items()} | axes(chunk=5), Inputs(video=clip))
    ours, theirs = (each.quality(each.run()) for each in (cell, whole))
    assert [{**row, "clip": 0} for row in theirs.frames[:5]] == ours.frames
    assert (ours.counters["frames"], ours.counters["clips"]) == (5, 1)
    assert ours.details["gaze_outputs"]["num_gazing_each_frame"] == [5] * 5
    assert ours.details["gaze_outputs"]["task_loss_requirement"] is None


def test_what_stops_a_clip_is_told_frame_by_frame(clip):
    cell = Evaluation(axes(setting="ratio_0.02_task_0.70"), Inputs(video=clip))
    outputs = cell.quality(cell.run()).details["gaze_outputs"]
    assert torch.tensor(outputs["task_loss_requirement"]).flatten().tolist() == pytest.approx([0.7, 0.7])
    assert outputs["scales"] == [32, 64, 112, 224]


def test_the_number_of_a_clip_is_told_with_its_frames(clip):
    cell = Evaluation(axes(clip="clip_02_start_0003"), Inputs(video=clip))
    assert [(row["clip"], row["frame"]) for row in cell.quality(cell.run()).frames] == [(2, 0), (2, 1)]


def test_a_clip_that_the_video_does_not_fill_says_so(clip):
    names = ("clip_00_start_0003", "clip_00_start_0004")
    whole, short = (Evaluation(axes(clip=name), Inputs(video=clip)) for name in names)
    assert whole.notes == []
    assert short.notes == ["the video ends 1 frames before the clip does: its last frame is repeated"]


def test_pictures_are_kept_of_the_first_clips_alone(clip):
    first, second = (
        Evaluation(axes(clip=name), Inputs(video=clip, pictured_clips=1))
        for name in ("clip_00_start_0000", "clip_01_start_0002")
    )
    output = first.run()
    arrays = first.quality(output).arrays
    assert second.quality(second.run()).arrays == {}
    frames = fit_frames(open_source(clip).read(0, 2).frames, 224)
    assert np.array_equal(arrays["original"], frames)
    assert (arrays["reconstruction"].shape, arrays["reconstruction"].dtype) == ((2, 224, 224, 3), np.uint8)
    masks = [arrays[f"mask_{scale}"] for scale in (32, 64, 112, 224)]
    assert np.array_equal(np.concatenate(masks, axis=1).sum(axis=1), [5, 5])


def test_a_clip_that_cannot_be_decoded_is_refused_before_a_model_is_loaded(tmp_path, monkeypatch):
    for number in range(4):
        Image.new("RGB", (16, 16)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"damaged")
    monkeypatch.setattr(evaluation, "_pipeline", lambda *_: pytest.fail("a model was loaded"))
    with pytest.raises(InputError, match=r"3\.png' cannot be read as a picture"):
        Evaluation(axes(clip="clip_01_start_0002"), Inputs(video=str(tmp_path)))
