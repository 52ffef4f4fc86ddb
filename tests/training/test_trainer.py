import json
import os
import signal
import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from autogaze.errors import InputError
from autogaze.models.autogaze import AutoGaze, AutoGazeImageProcessor
from autogaze.tasks.video_mae_reconstruction import VideoMAEReconstruction
from autogaze.training.distributed import Process
from tests.training.runs import ALGORITHMS, Clips, tiny_trainer, weights

TOLERANCE = 5e-6
"""Largest difference of a weight between two ways to cut a batch, in units of the largest change that
training made: single-precision sums in another order."""


def difference(start, one, other):
    """Return how far two trained models are apart, in units of how far the first has come."""
    distance = max(float((one[name] - start[name]).abs().max()) for name in start)
    return max(float((one[name] - other[name]).abs().max()) for name in start) / distance


def stopped_after(trainer, steps):
    """Run a trainer until it is asked to stop during step number ``steps``."""
    take = trainer._train_step

    def step(group):
        if trainer.step == steps - 1:
            trainer._ask_to_stop()
        return take(group)

    trainer._train_step = step
    return trainer.run()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_cut_and_resumed_gives_the_weights_of_one_that_was_not(algorithm, tmp_path):
    whole = tiny_trainer(algorithm, tmp_path / "whole")
    before = weights(whole)
    assert whole.run()
    changed = [name for name, tensor in weights(whole).items() if not torch.equal(tensor, before[name])]
    assert len(changed) > len(before) / 2

    # The cut falls inside the first epoch, and again at the end of it.
    for steps in (1, 2):
        cut = tiny_trainer(algorithm, tmp_path / "cut")
        assert cut.step == steps - 1
        assert not stopped_after(cut, steps)
    resumed = tiny_trainer(algorithm, tmp_path / "cut")
    assert resumed.step == 2
    assert resumed.run()
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_batches_prepared_together_are_used_again_and_cut_between_generations(tmp_path):
    replayed = {"videos": 12, "replay": (2, 3), "save_nsteps": 1}
    whole = tiny_trainer("distillation", tmp_path / "whole", **replayed)
    prepare, seen = whole.objective.prepare, []
    whole.objective.prepare = lambda batch, moment: seen.append(moment.step) or prepare(batch, moment)
    assert whole.run()
    # Two epochs of two batches and one, a batch of two micro-batches; nothing is prepared twice.
    assert whole.step == 2 * 3 * 3
    assert seen == [0, 0, 1, 1, 6, 6, 9, 9, 10, 10, 15, 15]

    # Asked in the middle of a generation, it stops at the end of it: six steps, three, six.
    for asked, stopped in ((2, 6), (7, 9), (10, 15)):
        cut = tiny_trainer("distillation", tmp_path / "cut", **replayed)
        assert not stopped_after(cut, asked)
        assert cut.step == stopped
    resumed = tiny_trainer("distillation", tmp_path / "cut", **replayed)
    assert resumed.run()
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def test_a_run_whose_data_comes_from_other_processes_is_resumed_alike(tmp_path):
    whole = tiny_trainer("ntp", tmp_path / "whole")
    whole.run()
    for steps in (1, 3):
        assert not stopped_after(tiny_trainer("ntp", tmp_path / "cut", workers=2), steps)
    resumed = tiny_trainer("ntp", tmp_path / "cut", workers=2)
    assert resumed.run()
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name


def metrics_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_log_of_a_resumed_run_has_every_step_once_and_the_same_numbers(tmp_path):
    tiny_trainer("ntp", tmp_path / "whole").run()
    stopped_after(tiny_trainer("ntp", tmp_path / "cut"), 3)
    with (tmp_path / "cut" / "ntp" / "metrics.jsonl").open("a") as log:
        log.write(
            '{"step": 4, "ntp_loss": 0.0}\n{"step": 5, "ntp_'
        )  # a step past the checkpoint, a torn line
    tiny_trainer("ntp", tmp_path / "cut").run()
    whole, resumed = (metrics_of(tmp_path / each / "ntp") for each in ("whole", "cut"))
    assert [line["step"] for line in resumed] == [1, 2, 3, 4, 4]
    assert [line.get("ntp_loss") for line in resumed] == [line.get("ntp_loss") for line in whole]
    assert "val/ntp_loss" in resumed[-1]


@pytest.mark.parametrize("algorithm", ["reconstruction", "ntp"])
def test_accumulated_micro_batches_give_the_gradient_of_the_whole_batch(algorithm, tmp_path):
    one_step = {"videos": 4, "n_epochs": 1, "optimizer": "sgd", "lr": 0.1}
    runs = [
        tiny_trainer(algorithm, tmp_path / str(size), per_gpu_max_batch_size=size, **one_step)
        for size in (4, 3, 1)
    ]
    start = weights(runs[0])
    for run in runs:
        run.run()
        assert run.step == 1
    for run in runs[1:]:
        assert difference(start, weights(runs[0]), weights(run)) < TOLERANCE


def replayed(algorithm):
    return {"replay": (2, 2)} if algorithm == "distillation" else {}


def train_in_a_process(rank, world_size, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world_size
    )
    process = Process(torch.device("cpu"), rank, world_size)
    for algorithm in ALGORITHMS:
        trainer = tiny_trainer(algorithm, folder, process, optimizer="sgd", lr=0.1, **replayed(algorithm))
        trainer.run()
        torch.save(weights(trainer), folder / f"{algorithm}_{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_train_as_one_does_on_the_same_global_batches(tmp_path):
    mp.spawn(train_in_a_process, (2, tmp_path), nprocs=2)
    for algorithm in ALGORITHMS:
        first, second = (torch.load(tmp_path / f"{algorithm}_{rank}.pt") for rank in (0, 1))
        assert all(torch.equal(first[name], second[name]) for name in first)
        alone = tiny_trainer(algorithm, tmp_path / "alone", optimizer="sgd", lr=0.1, **replayed(algorithm))
        start = weights(alone)
        alone.run()
        assert difference(start, weights(alone), first) < TOLERANCE
        together, single = (metrics_of(tmp_path / part / algorithm) for part in (".", "alone"))
        assert together[-1] == pytest.approx(single[-1], rel=1e-4)  # validation of shards, added up


def test_checkpoints_are_what_the_loaders_read_and_only_the_last_two_periodic_ones_stay(tmp_path):
    trainer = tiny_trainer("grpo", tmp_path, save_nsteps=1, train_task=True)
    trainer.run()
    folder = tmp_path / "grpo"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint_ep1_iter1",
        "checkpoint_ep2_iter0",
        "checkpoint_latest_gaze",
        "checkpoint_latest_task",
        "checkpoint_latest_train.pt",
        "metrics.jsonl",
    ]
    for gaze, task in (
        (folder / "checkpoint_latest_gaze", folder / "checkpoint_latest_task"),
        (folder / "checkpoint_ep2_iter0" / "gaze", folder / "checkpoint_ep2_iter0" / "task"),
    ):
        loaded = {
            "gaze": AutoGaze.from_pretrained(gaze),
            "task": VideoMAEReconstruction.from_checkpoint(task),
        }
        assert loaded["task"].config.trained
        assert AutoGazeImageProcessor.from_pretrained(gaze).rescale_factor == pytest.approx(1 / 127.5)
        for name, model in loaded.items():
            for key, tensor in model.state_dict().items():
                assert torch.equal(tensor, trainer.models[name].state_dict()[key]), key


def test_a_new_run_starts_from_the_checkpoints_it_is_given(tmp_path):
    stage_1 = tiny_trainer("ntp", tmp_path)
    stage_1.run()
    stage_0 = tiny_trainer("reconstruction", tmp_path)
    stage_0.run()
    stage_2 = tiny_trainer(
        "grpo",
        tmp_path,
        gaze_weights=str(tmp_path / "ntp" / "checkpoint_latest_gaze"),
        task_weights=str(tmp_path / "reconstruction" / "checkpoint_latest_task"),
    )
    for name, tensor in weights(stage_1).items():
        assert torch.equal(tensor, weights(stage_2)[name]), name
    frozen = stage_2.objective.task.state_dict()
    for name, tensor in stage_0.models["task"].state_dict().items():
        assert torch.equal(tensor, frozen[name]), name
    assert stage_2.objective.gaze.config.gazing_ratio_each_frame_config[
        "sample_strategy_during_training"
    ] == ("self")


def test_sigterm_ends_the_run_after_the_step_with_a_checkpoint(tmp_path):
    trainer = tiny_trainer("ntp", tmp_path)
    take = trainer._train_step

    def step(group):
        if trainer.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(group)

    trainer._train_step = step
    before = signal.getsignal(signal.SIGTERM)
    assert not trainer.run()
    assert signal.getsignal(signal.SIGTERM) is before
    assert tiny_trainer("ntp", tmp_path).step == 2


def train_as_a_process_group(folder, reached, told):
    os.setsid()
    trainer = tiny_trainer("ntp", folder, workers=2, videos=64)
    take = trainer._train_step

    def step(group):
        if trainer.step == 1:
            reached.set()
            told.wait()
            time.sleep(1)  # by now the end of a worker has been noticed
        return take(group)

    trainer._train_step = step
    assert not trainer.run()


def test_a_signal_to_the_whole_process_group_spares_the_data_workers(tmp_path):
    # As torchrun ends its processes. Workers bear only with a signal that their parent sends.
    context = mp.get_context("spawn")
    reached, told = context.Event(), context.Event()
    process = context.Process(target=train_as_a_process_group, args=(tmp_path, reached, told))
    process.start()
    assert reached.wait(timeout=120)
    os.killpg(process.pid, signal.SIGTERM)
    told.set()
    process.join(timeout=120)
    assert process.exitcode == 0
    assert tiny_trainer("ntp", tmp_path, videos=64).step == 2


def test_a_step_that_is_not_finite_is_refused_and_the_checkpoint_stays_good(tmp_path):
    good = tiny_trainer("ntp", tmp_path, save_nsteps=1)
    assert not stopped_after(good, 2)
    trainer = tiny_trainer("ntp", tmp_path, save_nsteps=1)
    with torch.no_grad():
        trainer.parameters[-1].fill_(float("nan"))
    with pytest.raises(InputError, match=r"is nan at step 3, which was not taken; lower trainer.lr"):
        trainer.run()
    resumed = tiny_trainer("ntp", tmp_path)
    assert resumed.step == 2
    assert all(tensor.isfinite().all() for tensor in weights(resumed).values())


class Unreadable(Clips):
    def __getitem__(self, index):
        raise InputError(f"clip {index} cannot be read; replace it")


def test_a_validation_that_fails_loses_no_training(tmp_path):
    trainer = tiny_trainer("ntp", tmp_path)
    trainer.val_data = Unreadable(2)
    with pytest.raises(InputError, match="cannot be read"):
        trainer.run()
    assert tiny_trainer("ntp", tmp_path).step == trainer.steps


def test_val_only_measures_and_changes_nothing(tmp_path, capsys):
    trainer = tiny_trainer("reconstruction", tmp_path, val_only=True)
    before = weights(trainer)
    assert trainer.run()
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(trainer).items())
    (line,) = metrics_of(tmp_path / "reconstruction")
    assert line.keys() == {"step", "val/loss@0.05", "val/psnr@0.05"}
    assert "loss@0.05" in capsys.readouterr().err


def test_val_only_adds_to_the_log_of_the_run_it_looks_at(tmp_path):
    tiny_trainer("ntp", tmp_path).run()
    told = metrics_of(tmp_path / "ntp")
    tiny_trainer("ntp", tmp_path, val_only=True, resume=None).run()
    assert metrics_of(tmp_path / "ntp")[:-1] == told


def test_clips_a_second_count_the_wait_for_data(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    class Slow(Clips):
        def __getitem__(self, index):
            now[0] += 0.5
            return super().__getitem__(index)

    trainer = tiny_trainer("ntp", tmp_path, n_epochs=1)
    trainer.train_data = Slow(8)
    trainer.run()
    assert [line["clips/s"] for line in metrics_of(tmp_path / "ntp")[:2]] == pytest.approx([2.0, 2.0])


def test_a_reconstructor_of_other_scales_is_trained_on_patches_of_its_own(tmp_path):
    trainer = tiny_trainer("reconstruction", tmp_path, scales="112+224")
    assert trainer.run()
    assert metrics_of(tmp_path / "reconstruction")[-1]["val/loss@0.05"] > 0


def test_labels_are_of_the_grid_of_the_model(tmp_path):
    trainer = tiny_trainer("ntp", tmp_path, scales="112+224")
    batch = next(trainer._batches(0, 0))
    info = batch["gt_gazing_info"]
    found = info["gazing_pos"][0][~info["if_padded_gazing"][0]]
    number = int(batch["video_path"][0].split("/")[-1].removesuffix(".mp4"))
    first, second = trainer.train_data[number]["gt_gazing_info"]["gazing_pos"]
    assert found.tolist() == first + [49 + 196 + patch for patch in second]


def test_processes_that_found_different_checkpoints_do_not_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(Process, "gather", lambda self, value: [value, value + 50])
    with pytest.raises(InputError, match=r"steps 0, 50; give trainer.logdir a folder that all of them see"):
        tiny_trainer("ntp", tmp_path)


def test_clipping_bounds_the_gradient_and_is_logged(tmp_path):
    trainer = tiny_trainer("ntp", tmp_path, clip_grad_norm=1e-3, n_epochs=1)
    trainer.run()
    norm = torch.stack([p.grad.norm() for p in trainer.parameters]).norm()
    assert norm == pytest.approx(1e-3, rel=1e-3)
    assert metrics_of(tmp_path / "ntp")[0]["grad_norm"] > 1e-3


def test_bfloat16_trains_float32_weights(tmp_path):
    trainer = tiny_trainer("grpo", tmp_path, precision="bfloat16", n_epochs=1)
    before = weights(trainer)
    trainer.run()
    after = weights(trainer)
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in after.values())
    assert any(not torch.equal(tensor, before[name]) for name, tensor in after.items())


def test_the_optimizer_follows_the_schedule_of_learning_rates(tmp_path):
    tiny_trainer("ntp", tmp_path, lr_schedule="linear", lr=3e-3, min_lr=0.0).run()
    rates = [line["lr"] for line in metrics_of(tmp_path / "ntp") if "lr" in line]
    assert rates == pytest.approx([3e-3, 2e-3, 1e-3, 0.0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2}, "batch_size 4, and this one has 2"),
        ({"seed": 1}, "seed 666, and this one has 1"),
        ({"videos": 11}, "dataset.videos 8, and this one has 11"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(changes, message, tmp_path):
    stopped_after(tiny_trainer("ntp", tmp_path), 1)
    with pytest.raises(InputError, match=message):
        tiny_trainer("ntp", tmp_path, **changes)


def test_a_run_goes_on_with_the_same_videos_only_wherever_they_lie(tmp_path):
    def trainer(*videos):
        data = Clips(8)
        data.videos = [tmp_path / video for video in videos]
        return tiny_trainer("ntp", tmp_path, train_data=data)

    stopped_after(trainer("here/set/train/a.mp4"), 1)
    assert trainer("there/set/train/a.mp4").step == 1
    with pytest.raises(InputError, match=r"dataset.videos 8 named \w+, and this one has 8 named \w+; use"):
        trainer("here/set/train/b.mp4")


def test_a_checkpoint_of_another_algorithm_is_refused(tmp_path):
    tiny_trainer("ntp", tmp_path, exp_name="mine").run()
    with pytest.raises(InputError, match=r"algorithm.name ntp, and this one has grpo; .* trainer.exp_name"):
        tiny_trainer("grpo", tmp_path, exp_name="mine")


def test_a_data_set_smaller_than_a_batch_is_refused(tmp_path):
    with pytest.raises(InputError, match="3 videos, fewer than batch_size 4"):
        tiny_trainer("ntp", tmp_path, videos=3)
