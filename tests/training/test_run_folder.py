import pytest
import torch

from autogaze.errors import InputError
from autogaze.training import run_folder
from autogaze.training.run_folder import Position, RunFolder, find_resumable, load


class Model(torch.nn.Linear):
    """A model that saves itself as the reconstructor does."""

    def save(self, folder):
        folder.mkdir()
        torch.save(self.state_dict(), folder / "weights.pt")


def started(width=2):
    model = Model(width, 1)
    return {"task": model}, torch.optim.Adam(model.parameters())


def position(step, **changes):
    return Position(**{"step": step, "steps_per_epoch": 5, "batch_size": 4, "seed": 0} | changes)


def save(folder, step=7):
    models, optimizer = started()
    sum(p.sum() for p in models["task"].parameters()).backward()
    optimizer.step()
    RunFolder(folder).save(position(step), models, optimizer)
    return models, optimizer


def test_what_was_saved_comes_back(tmp_path):
    models, optimizer = save(tmp_path)
    others, other_optimizer = started()
    assert load(RunFolder(tmp_path).latest, position(0), others, other_optimizer) == 7
    assert torch.equal(models["task"].weight, others["task"].weight)
    assert other_optimizer.state_dict()["state"][0]["exp_avg"].equal(
        optimizer.state_dict()["state"][0]["exp_avg"]
    )


def test_periodic_checkpoints_are_named_by_epoch_and_iteration_and_the_last_two_stay(tmp_path):
    for step in (1, 4, 7, 9, 10):
        save(tmp_path, step)
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert names == ["checkpoint_ep1_iter4", "checkpoint_ep2_iter0", "checkpoint_latest_task"]


def test_a_run_begun_anew_keeps_its_own_checkpoints_and_not_those_of_the_run_before(tmp_path):
    for step in (20, 21, 1, 2):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.glob("checkpoint_ep*")) == [
        "checkpoint_ep0_iter1",
        "checkpoint_ep0_iter2",
    ]


def test_what_a_killed_run_left_half_written_goes_with_the_next_checkpoint(tmp_path):
    for suffix in ("partial", "previous"):
        (tmp_path / f"checkpoint_ep0_iter1.{suffix}").mkdir()
    save(tmp_path)
    assert [path.name for path in tmp_path.glob("checkpoint_ep*")] == ["checkpoint_ep1_iter2"]


def test_the_optimizer_goes_on_with_the_settings_of_now(tmp_path):
    _, optimizer = save(tmp_path)
    models, _ = started()
    other = torch.optim.AdamW(models["task"].parameters(), weight_decay=0.5)
    load(RunFolder(tmp_path).latest, position(0), models, other)
    assert other.param_groups[0]["weight_decay"] == 0.5
    assert other.state_dict()["state"][0]["step"] == optimizer.state_dict()["state"][0]["step"]


@pytest.mark.parametrize("kinds", [(torch.optim.Adam, torch.optim.SGD), (torch.optim.SGD, torch.optim.Adam)])
def test_the_moments_of_another_kind_of_optimizer_are_refused(kinds, tmp_path):
    models, _ = started()
    saved, wanted = (kind(models["task"].parameters(), 0.1) for kind in kinds)
    RunFolder(tmp_path).save(position(7), models, saved)
    with pytest.raises(InputError, match="another kind of optimizer"):
        load(RunFolder(tmp_path).latest, position(0), models, wanted)


def test_a_checkpoint_from_before_settings_were_kept_is_read(tmp_path):
    save(tmp_path)
    latest = RunFolder(tmp_path).latest
    state = torch.load(latest)
    del state["position"]["settings"]
    torch.save(state, latest)
    assert load(latest, position(0, settings={"algorithm.name": "ntp"}), *started()) == 7


def test_a_write_that_fails_leaves_the_checkpoint_before_it(tmp_path, monkeypatch):
    models, _ = save(tmp_path, step=1)

    def fail(state, file):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder.torch, "save", fail)
    with pytest.raises(InputError, match="cannot be written: No space left on device; free space"):
        RunFolder(tmp_path).save(position(2), *started())
    monkeypatch.undo()
    others, optimizer = started()
    assert load(RunFolder(tmp_path).latest, position(0), others, optimizer) == 1
    assert torch.equal(models["task"].weight, others["task"].weight)
    save(tmp_path, step=3)
    assert not list(tmp_path.glob("*.partial"))


def test_resuming_finds_the_latest_checkpoint_or_the_one_named(tmp_path):
    folder = RunFolder(tmp_path)
    assert find_resumable("auto", folder) is None
    save(tmp_path)
    assert find_resumable("auto", folder) == folder.latest
    assert find_resumable(None, folder) is None
    periodic = tmp_path / "checkpoint_ep1_iter2"
    assert find_resumable(str(periodic), folder) == periodic / "train.pt"
    with pytest.raises(InputError, match="names nowhere, which is not there"):
        find_resumable("nowhere", folder)


@pytest.mark.parametrize(
    ("expected", "models", "message"),
    [
        (position(0, seed=1), started(), "seed 0, and this one has 1"),
        (position(0, batch_size=8), started(), "batch_size 4, and this one has 8"),
        (position(0, steps_per_epoch=6), started(), "steps_per_epoch 5, and this one has 6"),
        (position(0, settings={"dataset.seed": 2}), started(), "dataset.seed 1, and this one has 2"),
        (position(0), ({"gaze": Model(2, 1)}, None), "holds task, and this run trains gaze"),
        (position(0), started(width=3), "task weights .* another architecture"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(expected, models, message, tmp_path):
    RunFolder(tmp_path).save(position(7, settings={"dataset.seed": 1}), *started())
    with pytest.raises(InputError, match=message):
        load(RunFolder(tmp_path).latest, expected, *models)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"root:x:0:0:root:/root:/bin/bash\n"])
def test_a_file_that_is_no_checkpoint_is_refused(content, tmp_path):
    path = tmp_path / "train.pt"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a training checkpoint"):
        load(path, position(0), *started())
