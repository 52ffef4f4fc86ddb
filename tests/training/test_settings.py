import pytest

from autogaze.errors import InputError
from autogaze.train import compose
from autogaze.training.settings import read_settings
from tests.training.runs import ALGORITHMS

NTP = compose(ALGORITHMS["ntp"])


def changed(path, value):
    """The configuration with one value replaced."""

    def replaced(node, parts):
        first, *rest = parts
        return {**node, first: replaced(node[first], rest) if rest else value}

    return replaced(NTP, path.split("."))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (
            "trainer.optimiser",
            "adam",
            "unknown training setting 'trainer.optimiser': did you mean 'trainer.op",
        ),
        ("dataset.train_data_aug", {"aug_typ": None}, "dataset.train_data_aug.aug_typ"),
        ("trainer.lr_schedule", "cosine", "trainer.lr_schedule cannot be 'cosine': input should be 'linear'"),
        ("trainer.batch_size", 0, "trainer.batch_size cannot be 0"),
        ("trainer.lr", "fast", "trainer.lr cannot be 'fast'"),
        ("task.recon_sample_rate", 1.5, "task.recon_sample_rate cannot be 1.5"),
        ("algorithm", {}, "algorithm.name is missing"),
        ("algorithm.name", "ppo", "algorithm.name cannot be 'ppo'"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_in_a_sentence(path, value, message):
    with pytest.raises(InputError, match=message) as refusal:
        read_settings(changed(path, value))
    assert "\n" not in str(refusal.value)


def test_the_released_defaults_are_kept():
    trainer = read_settings(compose("video_folder_video_mae_reconstruction_ar_gaze_ntp")).trainer
    assert (trainer.per_gpu_max_batch_size, trainer.min_lr, trainer.seed) == (64, 1e-5, 666)
    assert (trainer.resume, trainer.logdir, trainer.optimizer) == ("auto", "exps/", "adam")
