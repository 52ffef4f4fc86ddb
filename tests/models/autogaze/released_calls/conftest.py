"""Models for the tests of released calls."""

import copy

import pytest
import torch

from tests.models.autogaze.released_calls.calls import CASE
from tests.reference.cases import gaze_model


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
