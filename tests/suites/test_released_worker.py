"""The program that holds the released package, in this process and with a model made up."""

import io
import json

import numpy as np
import pytest
import torch

from suites.released_worker import Session, serve


class Model:
    """Remembers how it was called; says how attention is computed in two places."""

    def __init__(self):
        self.asked = None

    def forward(self, inputs, gazing_ratio=None, task_loss_requirement=None, generate_only=False):
        self.asked = {"ratio": gazing_ratio, "task": task_loss_requirement, "only": generate_only}
        frames = inputs["video"].shape[1]
        return {
            "gazing_pos": torch.arange(frames)[None] * 265,
            "if_padded_gazing": torch.zeros(1, frames, dtype=torch.bool),
            "num_gazing_each_frame": torch.ones(frames, dtype=torch.int64),
        }

    def __call__(self, *args, **kwargs):
        assert not torch.is_grad_enabled()
        return self.forward(*args, **kwargs)


class OlderModel(Model):
    """Has no argument to leave its second pass out."""

    def forward(self, inputs, gazing_ratio=None, task_loss_requirement=None):
        return super().forward(inputs, gazing_ratio, task_loss_requirement)


@pytest.fixture
def session(tmp_path):
    made = Session(tmp_path, model=Model())
    np.save(tmp_path / "video.npy", np.zeros((1, 3, 3, 8, 8), np.float32))
    made.hand_over(0, str(tmp_path / "video.npy"))
    return made


def test_the_second_pass_is_left_out_where_the_call_can(session, tmp_path):
    session.gaze(0, str(tmp_path / "gaze.npz"), gazing_ratio=0.5)
    assert session.model.asked == {"ratio": 0.5, "task": None, "only": True}
    session.model = OlderModel()
    session.gaze(0, str(tmp_path / "gaze.npz"), gazing_ratio=1.0, task_loss_requirement=0.7)
    assert session.model.asked == {"ratio": 1.0, "task": 0.7, "only": False}


def test_patches_come_back_in_a_file_and_the_time_of_the_call_alone(session, tmp_path):
    seconds = session.gaze(0, str(tmp_path / "gaze.npz"), gazing_ratio=0.5)
    assert seconds > 0
    with np.load(tmp_path / "gaze.npz") as arrays:
        assert arrays["gazing_pos"].tolist() == [[0, 265, 530]]
        assert arrays["num_gazing_each_frame"].tolist() == [1, 1, 1]


def test_commands_are_answered_one_by_one_and_an_error_is_an_answer(session, capsys):
    answers = io.StringIO()
    commands = [{"do": "peaks"}, {"do": "gaze", "call": 7, "path": "x"}, {"do": "forget_peaks"}]
    serve(session, map(json.dumps, commands), answers)
    peaks, error, forgotten = map(json.loads, answers.getvalue().splitlines())
    assert peaks["result"]["resident_peak"] > 2**20
    assert (error["error"], error["kind"]) == ("KeyError: 7", "KeyError")
    assert forgotten == {"result": None}
    assert capsys.readouterr().err.splitlines()[-1] == "KeyError: 7"
