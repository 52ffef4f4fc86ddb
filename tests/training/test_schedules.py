import pytest

from autogaze.errors import InputError
from autogaze.training.schedules import exponential, learning_rate


@pytest.mark.parametrize(
    ("kind", "rates"),
    [
        ("constant", [1.0] * 5),
        ("linear", [1.0, 0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_learning_rates_go_from_peak_to_floor(kind, rates):
    rate = learning_rate(kind, 1.0, 0.2, 5)
    assert [rate(step) for step in range(5)] == pytest.approx(rates)


def test_warm_up_takes_a_tenth_of_the_steps():
    rate = learning_rate("linear_w_warmup", 1.0, 0.1, 40)
    rates = [rate(step) for step in range(40)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[-1] == pytest.approx(0.1)
    assert rates[4:] == sorted(rates[4:], reverse=True)


def test_a_run_of_one_step_starts_at_the_peak():
    for kind in ("constant", "linear", "linear_w_warmup"):
        assert learning_rate(kind, 1.0, 0.1, 1)(0) == 1.0


def test_temperatures_fall_exponentially():
    temperature = exponential(3.0, 0.3, 3)
    assert [temperature(step) for step in range(3)] == pytest.approx([3.0, 0.9**0.5, 0.3])


def test_schedules_that_there_are_not_are_refused():
    with pytest.raises(InputError, match="unknown lr_schedule 'cosine'"):
        learning_rate("cosine", 1.0, 0.1, 10)
    with pytest.raises(InputError, match="above 0"):
        exponential(3.0, 0.0, 10)
