import json
import math
import sys
import types

import pytest
from rich.console import Console

from autogaze.errors import InputError
from autogaze.training.log import JsonLines, RunLog, TensorBoard, WeightsAndBiases


class Kept:
    def __init__(self):
        self.lines, self.closed = [], False

    def write(self, step, metrics):
        self.lines.append((step, dict(metrics)))

    def close(self):
        self.closed = True


def test_steps_and_validations_reach_every_sink_and_the_screen():
    sinks = [Kept(), Kept()]
    console = Console(record=True, width=120)
    with RunLog(sinks, steps=2, first_step=0, console=console) as log:
        log.step(1, 0, {"loss": 0.5})
        log.validation(1, {"psnr": 20.0})
    for sink in sinks:
        assert sink.lines == [(1, {"loss": 0.5}), (1, {"val/psnr": 20.0})]
        assert sink.closed
    shown = console.export_text()
    assert "step 1  validation  psnr 20.0000" in shown
    assert "epoch 0" in shown
    assert "1/2" in shown
    assert "loss 0.5" in shown


def test_a_process_without_a_console_says_nothing(capsys):
    with RunLog([], steps=2, first_step=0, console=None) as log:
        log.step(1, 0, {"loss": 0.5})
        log.validation(1, {"psnr": 20.0})
    assert capsys.readouterr() == ("", "")


def test_the_log_file_holds_one_object_a_line_without_what_json_lacks(tmp_path):
    log = JsonLines(tmp_path / "run" / "metrics.jsonl", 0)
    log.write(1, {"loss": 0.5, "psnr": float("inf")})
    line = (tmp_path / "run" / "metrics.jsonl").read_text()  # there before the file is closed
    log.close()
    assert json.loads(line) == {"step": 1, "loss": 0.5, "psnr": None}


def test_a_run_that_begins_anew_empties_the_log(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    JsonLines(path, 0).close()
    assert path.read_text() == ""


def test_a_log_goes_on_without_what_was_told_past_its_first_step(tmp_path):
    path = tmp_path / "metrics.jsonl"
    told = '{"step": 1}\n{"step": 2}\n'
    path.write_text(told + '{"step": 3}\n{"st')
    JsonLines(path, 2).close()
    assert path.read_text() == told
    path.write_text(told + '{"step": 3}\n{"st')
    JsonLines(path, math.inf).close()
    assert path.read_text() == told + '{"step": 3}\n'


def test_a_log_that_fails_to_be_begun_anew_is_still_there(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')

    def fail(self, *_, **__):
        self.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(path), "write_text", fail)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        JsonLines(path, 1)
    assert path.read_text() == '{"step": 1}\n'


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"choose another trainer.logdir"):
        JsonLines(tmp_path / "file" / "run" / "metrics.jsonl", 0)


@pytest.mark.parametrize(("first_step", "purged"), [(0, 1), (5, 6), (math.inf, None)])
def test_tensorboard_is_told_where_a_run_goes_on(first_step, purged, tmp_path, monkeypatch):
    calls = []
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = lambda folder, purge_step: calls.append((folder, purge_step))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    TensorBoard(tmp_path, first_step)
    assert calls == [(str(tmp_path), purged)]


def test_loggers_that_are_not_installed_are_refused_with_the_cure(tmp_path, monkeypatch):
    for name in ("wandb", "tensorboard", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match="pip install wandb"):
        WeightsAndBiases(tmp_path, {})
    with pytest.raises(InputError, match="pip install tensorboard"):
        TensorBoard(tmp_path, 0)
