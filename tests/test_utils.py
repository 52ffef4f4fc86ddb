"""Helpers under released names."""

import os
import random

import numpy as np
import pytest
import torch
from torch import nn

from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGazeImageProcessor
from autogaze.utils import (
    UnNormalize,
    get_gazing_pos_from_gazing_mask,
    move_inputs_to_cuda,
    seed_everything,
    unwrap_model,
)


@pytest.mark.parametrize("size", [8, 224])
def test_unnormalizing_gives_the_pixels_that_were_processed(size):
    processor = AutoGazeImageProcessor.of_checkpoint(size)
    frames = np.random.RandomState(0).randint(0, 256, (2, size, size, 3), np.uint8)
    video = processor(frames, return_tensors="pt").pixel_values
    undo = UnNormalize(processor.image_mean, processor.image_std, processor.rescale_factor)
    expected = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
    torch.testing.assert_close(undo(video[0]), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(undo(video[0, 0]), expected[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(undo(video), expected[None], atol=1e-6, rtol=0)


def test_without_a_rescale_factor_pixels_are_where_mean_and_deviation_put_them():
    picture = torch.tensor([-1.0, 0.0, 3.0]).view(3, 1, 1)
    for undo in (UnNormalize([0.5] * 3, [0.25] * 3), UnNormalize([0.5] * 3, [0.25] * 3, 1 / 255)):
        assert undo(picture).flatten().tolist() == [0.25, 0.5, 1.0]
    with pytest.raises(InputError, match=r"shape \[2, 1, 1\]"):
        undo(picture[:2])


def test_gazes_are_read_from_a_mask_in_order_and_padded():
    mask = torch.tensor([[0, 1, 0, 1, 1], [1, 0, 0, 0, 0]])
    for given in (mask, mask.bool(), mask.float()):
        positions, padded = get_gazing_pos_from_gazing_mask(given)
        assert positions.tolist() == [[1, 3, 4], [0, -1, -1]]
        assert padded.tolist() == [[False] * 3, [False, True, True]]
    positions, padded = get_gazing_pos_from_gazing_mask(torch.zeros(2, 5))
    assert positions.shape == padded.shape == (2, 0)
    with pytest.raises(InputError, match=r"\[5\]"):
        get_gazing_pos_from_gazing_mask(torch.zeros(5))


def test_seeding_repeats_every_generator(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    drawn = []
    for _ in range(2):
        seed_everything(3)
        drawn.append((random.random(), float(np.random.rand()), float(torch.rand(()))))
    assert drawn[0] == drawn[1]
    assert os.environ["PYTHONHASHSEED"] == "3"


def test_models_that_are_not_wrapped_stay_as_they_are():
    model = nn.Linear(1, 1)
    assert unwrap_model(model) is model


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_cuda_device_nothing_is_moved_to_one():
    with pytest.raises(InputError, match="no CUDA device"):
        move_inputs_to_cuda({"video": torch.zeros(1)})


@pytest.mark.gpu
def test_tensors_are_moved_in_place_in_nested_dicts_too():
    inputs = {"video": torch.zeros(1), "info": {"pos": torch.zeros(1)}, "name": "x"}
    assert move_inputs_to_cuda(inputs) is inputs
    assert inputs["video"].is_cuda
    assert inputs["info"]["pos"].is_cuda
