"""Long and large videos: chunk by chunk, tile by tile, and nothing held longer than needed."""

import gc
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from autogaze.errors import InputError
from autogaze.models.autogaze import covering_scales, gaze_video
from autogaze.video.frame_source import Clip
from autogaze.video.preprocessing import fit_frames, normalize
from autogaze.video.video_file import open_source
from tests.reference.cases import gaze_model
from tests.video.videos import INPUTS, decode_all, write_video


@pytest.fixture(scope="module")
def tiny():
    return gaze_model("tiny", 12)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("video") / "small.mp4", 7, size=240)


def as_video(frames):
    return torch.from_numpy(normalize(frames))[None]


class CountingSource:
    """A video of noise that knows how many frames of it are alive."""

    path, fps = Path("noise"), None

    def __init__(self, frames, height, width):
        self.frames, self.height, self.width = frames, height, width
        self.alive = self.most_alive = 0

    def read(self, start, count):
        frames = np.random.RandomState(start).randint(0, 256, (count, self.height, self.width, 3), np.uint8)
        self._change(count)
        weakref.finalize(frames, self._change, -count)
        return Clip(frames, 0)

    def _change(self, count):
        self.alive += count
        self.most_alive = max(self.alive, self.most_alive)


def test_chunks_get_the_patches_of_offline_calls_on_them(tiny, video):
    limits = {"gazing_ratio": 0.2, "task_loss_requirement": -0.6}
    chunks = list(gaze_video(tiny, open_source(video), chunk=3, **limits))
    frames = decode_all(video)
    assert [(chunk.start, len(chunk.frames)) for chunk in chunks] == [(0, 3), (3, 3), (6, 1)]
    for chunk in chunks:
        own = frames[chunk.start : chunk.start + 3]
        assert np.array_equal(chunk.frames, own)
        with torch.inference_mode():
            expected = tiny({"video": as_video(fit_frames(own, 224))}, **limits)
        assert torch.equal(chunk.gaze.gazing_pos, expected.gazing_pos)


@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_tiles_in_batches_give_the_patches_of_all_tiles_in_one_call(tiny, video, at_once):
    scales = covering_scales(tiny.arch.grid, 240, 240, 16)
    limits = {"gazing_ratio": [0.1, 0.02, 0.05, 0.3], "task_loss_requirement": -0.6}
    chunks = list(
        gaze_video(tiny, open_source(video), chunk=4, patch_size=16, max_batch_size=at_once, **limits)
    )
    frames = decode_all(video)[:4]
    with torch.inference_mode():
        expected = tiny({"video": as_video(frames)}, target_scales=scales, target_patch_size=16, **limits)
    assert torch.equal(chunks[0].gaze.gazing_pos, expected.gazing_pos)
    assert torch.equal(chunks[0].gaze.task_loss_requirement, expected.task_loss_requirement)
    assert len(chunks[1].gaze.num_gazing_each_frame) == 3


def test_a_wide_video_is_looked_at_whole(tiny):
    source = CountingSource(2, 100, 500)
    (chunk,) = gaze_video(tiny, source, gazing_ratio=0.05, patch_size=16)
    assert chunk.gaze.num_vision_tokens_each_frame == 1 * 5 + 2 * 10 + 4 * 16 + 7 * 32
    columns = chunk.gaze.gazing_mask[-1].view(2, 7, 32)
    assert columns[..., :14].any()
    assert columns[..., 14:28].any()


@pytest.mark.parametrize("patch_size", [None, 16])
def test_frames_held_do_not_grow_with_the_length_of_the_video(tiny, patch_size):
    held = []
    for frames in (8, 24):
        source = CountingSource(frames, 64, 300)
        for chunk in gaze_video(tiny, source, chunk=4, gazing_ratio=0.004, patch_size=patch_size):
            assert chunk.gaze.gazes_each_frame().min() >= 0
        del chunk
        gc.collect()
        assert source.alive == 0
        held.append(source.most_alive)
    # The chunk at work, and the one before, which the loop above still holds.
    assert held == [8, 8]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "neither"),
        ({"gazing_ratio": 0.1, "chunk": 0}, "chunk 0"),
        ({"gazing_ratio": 0.1, "max_batch_size": 0}, "max_batch_size 0"),
        ({"gazing_ratio": 0.1, "patch_size": 0}, "must be positive"),
        ({"gazing_ratio": [0.1, 0.2], "chunk": 3}, "one for each of 3 frames"),
        ({"task_loss_requirement": float("nan")}, "nan"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_anything_is_read(tiny, settings, words):
    with pytest.raises(InputError, match=words):
        gaze_video(tiny, CountingSource(2, 64, 64), **settings)


def test_frames_of_another_size_are_cut_into_tiles_of_their_own(tiny):
    source = open_source(INPUTS / "rampup.webm")
    small, large = source.read(0, 1).frames[0].shape, source.read(23, 1).frames[0].shape
    assert (small[:2], large[:2]) == ((240, 320), (480, 640))
    chunks = list(gaze_video(tiny, source, chunk=12, gazing_ratio=0.02, patch_size=16))
    for chunk, (height, width, _) in zip(chunks, (small, large), strict=True):
        scales = covering_scales(tiny.arch.grid, height, width, 16)
        with torch.inference_mode():
            expected = tiny(
                {"video": as_video(chunk.frames)},
                gazing_ratio=0.02,
                target_scales=scales,
                target_patch_size=16,
            )
        assert torch.equal(chunk.gaze.gazing_pos, expected.gazing_pos)
