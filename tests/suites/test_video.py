"""The workloads on video: what they cover, count and judge."""

import dataclasses

import numpy as np
import pytest
import torch

from autogaze.attention.registry import BACKENDS
from autogaze.embedded import reconstructor
from autogaze.embedded.reconstructor import CONFIG, RELEASED_SIZE
from autogaze.errors import InputError
from suites import WORKLOADS
from suites.axes import ATTENTION_BACKENDS
from suites.loader import workload_class
from suites.pipeline import UNTRAINED
from suites.video import AXES, EndToEnd, Gaze, Reconstruct
from suites.workload import Inputs
from tests.video.videos import INPUTS


def axes(**changes):
    return {name: axis.default for name, axis in AXES.items()} | {"setting": "ratio_0.02"} | changes


@pytest.fixture(scope="module")
def short_clip(tmp_path_factory):
    """Five frames of noise, as a .npz."""
    path = tmp_path_factory.mktemp("clip") / "clip.npz"
    np.savez(path, frames=np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), dtype=np.uint8))
    return Inputs(video=str(path))


@pytest.fixture(scope="module")
def end_to_end(short_clip):
    workload = EndToEnd(axes(chunk=4), short_clip)
    return workload, workload.run()


def test_every_registered_workload_exists():
    assert all(workload_class(name).axes for name in WORKLOADS)


def test_the_attention_axis_offers_every_backend():
    assert set(ATTENTION_BACKENDS) == set(BACKENDS)


def test_a_repetition_covers_a_clip_in_chunks(end_to_end):
    workload, output = end_to_end
    quality = workload.quality(output)
    assert [result.video.shape for result in output] == [(1, 4, 3, 224, 224)] * 4
    assert quality.counters["frames"] == 16
    assert quality.counters["clips"] == 4
    assert quality.counters["candidate_patches"] == 16 * 265
    assert quality.counters["selected_patches"] == 16 * 5
    assert quality.counters["padded_patches"] == 0
    assert [row["frame"] for row in quality.frames] == [0, 1, 2, 3] * 4
    assert all(row["gazes"] == 5 and 0 < row["mae"] < 1 and row["loss"] > 0 for row in quality.frames)


def test_a_video_that_starts_over_is_noted_and_the_embedded_weights_are_trained(end_to_end):
    workload, _ = end_to_end
    assert UNTRAINED not in workload.notes
    assert any("starts over" in note for note in workload.notes)


def test_how_a_video_is_read_is_noted():
    workload = Gaze(axes(chunk=4), Inputs(video=str(INPUTS / "paff_s.mp4")))
    assert any("decodes it from its start, as it has field pictures" in note for note in workload.notes)


def test_a_video_shorter_than_a_chunk_repeats_its_last_frame_and_says_so(short_clip):
    workload = Gaze(axes(chunk=8), short_clip)
    assert any("fewer than a chunk of 8" in note for note in workload.notes)
    video = workload.run()[0].video[0]
    assert torch.equal(video[5], video[4])
    assert not torch.equal(video[4], video[3])


def test_equal_outputs_have_equal_hashes_and_other_settings_other_ones(short_clip):
    workload = Gaze(axes(chunk=16), short_clip)
    first, second = workload.quality(workload.run()), workload.quality(workload.run())
    other = Gaze(axes(chunk=16, setting="ratio_0.01"), short_clip)
    assert first.patch_hash == second.patch_hash
    assert first.patch_hash != other.quality(other.run()).patch_hash


def test_batched_chunks_get_the_patches_of_single_ones(short_clip):
    single, batched = Gaze(axes(chunk=4), short_clip), Gaze(axes(chunk=4, batch=4), short_clip)
    assert len(batched.run()) == 1
    assert single.quality(single.run()).patch_hash == batched.quality(batched.run()).patch_hash


def test_reconstruction_from_given_patches_equals_the_whole_way(short_clip, end_to_end):
    workload, output = end_to_end
    alone = Reconstruct(axes(chunk=4, reconstructor="checkpoint"), short_clip)
    assert alone.quality(alone.run()).frames == workload.quality(output).frames


def test_work_is_that_of_what_a_repetition_does(short_clip, end_to_end):
    whole = end_to_end[0].quality(end_to_end[1]).counters
    parts = [
        workload.quality(workload.run()).counters
        for workload in (
            Gaze(axes(chunk=4), short_clip),
            Reconstruct(axes(chunk=4, reconstructor="checkpoint"), short_clip),
        )
    ]
    for name in ("flops", "bytes"):
        assert all(part[name] > 0 for part in parts)
        assert sum(part[name] for part in parts) == whole[name]


def test_the_released_size_is_that_of_the_released_model():
    assert (RELEASED_SIZE.hidden_size, RELEASED_SIZE.num_hidden_layers) == (1024, 24)
    assert (RELEASED_SIZE.decoder_hidden_size, RELEASED_SIZE.decoder_num_hidden_layers) == (512, 8)


def test_a_reconstructor_of_another_size_takes_the_place_of_the_checkpoint(short_clip, monkeypatch):
    smaller = dataclasses.replace(CONFIG, num_hidden_layers=1, decoder_num_hidden_layers=1)
    monkeypatch.setattr(reconstructor, "RELEASED_SIZE", smaller)
    usual, other = (
        Reconstruct(axes(chunk=4, reconstructor=name), short_clip) for name in ("checkpoint", "released_size")
    )
    assert other.pipeline.task.config is smaller
    assert set(other.notes) - set(usual.notes) == {UNTRAINED}
    assert other.details["task.weights"] != usual.details["task.weights"]
    counters = [each.quality(each.run()).counters for each in (usual, other)]
    assert counters[1]["flops"] < counters[0]["flops"]


def test_patches_are_judged_by_those_of_the_definition_on_the_same_clip(short_clip):
    many = axes(
        chunk=4, batch=2, setting="ratio_0.50"
    )  # of few patches both kinds of numbers choose the same
    half = Gaze(many | {"dtype": "bfloat16"}, short_clip)
    output = half.run()
    figures = half.quality(output).figures
    exact = Gaze(many | {"engine": "eager"}, short_clip)
    shares = torch.cat([a.gaze.agreement(b.gaze) for a, b in zip(output, exact.run(), strict=True)])
    assert shares.shape == (4, 4)
    assert figures["agreement"] == pytest.approx(float(shares.mean()))
    assert figures["agreement.worst_frame"] == float(shares.min())
    assert 0 < figures["agreement"] < 1


def test_the_definition_is_not_held_against_itself(short_clip):
    exact = Gaze(axes(chunk=4, engine="eager"), short_clip)
    assert exact.quality(exact.run()).figures == {}


@pytest.mark.parametrize("changes", [{"chunk": 0}, {"batch": 0}, {"chunk": True}, {"setting": "ratio=0.1"}])
def test_axis_values_that_mean_nothing_are_refused(changes):
    ((name, value),) = changes.items()
    with pytest.raises(InputError):
        AXES[name].check(value)
