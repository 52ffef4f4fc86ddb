import pytest
import torch
import torch.distributed as dist

from autogaze.errors import InputError
from autogaze.training.distributed import Process, joined_process


def test_a_process_alone_joins_nothing(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined_process("cpu") as process:
        assert process == Process(torch.device("cpu"))
        assert process.is_first
        assert process.sum([1.0, 2.0]) == [1.0, 2.0]
        assert process.gather("x") == ["x"]
        assert not dist.is_initialized()


def test_processes_of_torchrun_join_by_their_ranks_and_leave_at_the_end(monkeypatch):
    calls = []
    monkeypatch.setattr(dist, "init_process_group", lambda backend: calls.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("left"))
    for name, value in (("RANK", "3"), ("WORLD_SIZE", "4"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    joined = joined_process("cpu")
    process = joined.__enter__()
    assert process == Process(torch.device("cpu"), rank=3, world_size=4)
    assert not process.is_first
    assert calls == ["gloo"]
    failure = KeyError("inside")
    assert not joined.__exit__(KeyError, failure, None)
    assert calls == ["gloo", "left"]


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "device 'gpu' cannot be used"),
        ("mps", "device 'mps' cannot be used"),
        ("cuda:7", r"GPU 7, and \d+ are visible"),
    ],
)
def test_devices_that_there_are_not_are_refused(device, message):
    with pytest.raises(InputError, match=message), joined_process(device):
        pass
