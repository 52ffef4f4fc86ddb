"""The workload that encodes: what it covers, counts and refuses."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from autogaze.attention.layout import Kind
from autogaze.errors import InputError
from suites.encode import DENSE, Encode
from suites.loader import load_suite, workload_class
from suites.pipeline import UNTRAINED
from suites.workload import Inputs
from tests.hub_folders import write_gaze_model, write_siglip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    """Five frames of noise, and models small enough for tests."""
    folder: Path = tmp_path_factory.mktemp("encode")
    frames = np.random.default_rng(0).integers(0, 256, (5, 60, 80, 3), dtype=np.uint8)
    np.savez(folder / "clip.npz", frames=frames)
    write_gaze_model(folder / "gaze")
    write_siglip(folder / "siglip", 224, 16)
    return Inputs(
        video=str(folder / "clip.npz"),
        checkpoint=str(folder / "gaze"),
        task_checkpoint=str(folder / "siglip"),
    )


def workload(inputs: Inputs, **changes: Any) -> Encode:
    defaults = {name: axis.default for name, axis in Encode.axes.items()}
    return Encode(defaults | {"setting": "ratio_0.02", "chunk": 4} | changes, inputs)


def test_it_is_registered() -> None:
    assert workload_class("encode") is Encode


def test_the_axis_of_masks_offers_every_kind() -> None:
    assert Encode.axes["attn_type"].known == get_args(Kind)


def test_gazed_patches_are_counted_and_encoded(inputs: Inputs) -> None:
    encode = workload(inputs)
    output = encode.run()
    quality = encode.quality(output)
    assert [encoded.last_hidden_state.shape for encoded in output] == [(1, 4 * 5, 32)] * 4
    assert quality.counters["frames"] == 16
    assert quality.counters["candidate_patches"] == 16 * 265
    assert quality.counters["selected_patches"] == 16 * 5
    assert quality.counters["padded_patches"] == 0
    assert [row["frame"] for row in quality.frames] == [0, 1, 2, 3] * 4
    assert {row["gazes"] for row in quality.frames} == {5}


def test_dense_encodes_every_patch_and_is_more_work(inputs: Inputs) -> None:
    dense, gazed = workload(inputs, setting=DENSE), workload(inputs)
    output = dense.run()
    counters = dense.quality(output).counters
    assert output[0].last_hidden_state.shape == (1, 4 * 265, 32)
    assert counters["selected_patches"] == counters["candidate_patches"] == 16 * 265
    assert counters["flops"] > 50 * gazed.quality(gazed.run()).counters["flops"]


def test_every_data_type_and_mask_encodes_the_same_patches(inputs: Inputs) -> None:
    hashes = set()
    for changes in ({}, {"dtype": "bfloat16"}, {"attn_type": "causal"}, {"attention": "eager"}):
        encode = workload(inputs, **changes)
        output = encode.run()
        assert output[0].last_hidden_state.dtype == encode.dtype
        hashes.add(encode.quality(output).patch_hash)
    other = workload(inputs, setting="ratio_0.01")
    assert len(hashes) == 1
    assert other.quality(other.run()).patch_hash not in hashes


def test_features_that_are_not_finite_are_no_result(inputs: Inputs) -> None:
    encode = workload(inputs)
    first, *rest = encode.run()
    broken = dataclasses.replace(first, last_hidden_state=first.last_hidden_state / 0)
    with pytest.raises(ValueError, match="not finite"):
        encode.quality([broken, *rest])


def test_untrained_weights_are_noted_and_details_say_what_runs(inputs: Inputs) -> None:
    encode = workload(dataclasses.replace(inputs, task_checkpoint=None), attention="eager")
    assert UNTRAINED in encode.notes
    assert UNTRAINED not in workload(inputs).notes
    assert encode.details["attention"] == "eager"
    assert {"gaze.weights", "encoder.weights"} <= set(encode.details)


@pytest.mark.parametrize("setting", ["sparse", "ratio_2"])
def test_a_setting_that_means_nothing_is_refused(setting: str) -> None:
    with pytest.raises(InputError, match="gaze setting"):
        Encode.axes["setting"].check(setting)


def test_the_suite_lays_dense_beside_gazed() -> None:
    settings = {dict(point.axes)["setting"] for point in load_suite("encode").points}
    assert {DENSE, "ratio_0.05"} <= settings
