import pytest
from hypothesis import given
from hypothesis import strategies as st

from autogaze.errors import InputError
from suites.settings import PUBLISHED_SETTINGS, GazeSetting, canonical_setting, parse_setting


def test_a_ratio_is_a_budget_without_requirement() -> None:
    assert parse_setting("ratio_0.25") == GazeSetting("ratio_0.25", 0.25, None)


def test_a_task_is_a_requirement_without_budget() -> None:
    assert parse_setting("task_0.70") == GazeSetting("task_0.70", None, 0.7)


def test_both_cap_and_stop() -> None:
    assert parse_setting("ratio_0.75_task_0.70") == GazeSetting("ratio_0.75_task_0.70", 0.75, 0.7)


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("ratio_0.5", "ratio_0.50"),
        ("ratio_1", "ratio_1.00"),
        ("ratio_0.1250", "ratio_0.125"),
        ("task_1", "task_1.00"),
    ],
)
def test_spellings_of_one_setting_have_one_name(written: str, canonical: str) -> None:
    assert canonical_setting(written) == canonical


@pytest.mark.parametrize(
    "name",
    [
        "ratio=0.25",
        "ratio0.25",
        "",
        "ratio_",
        "_task_0.7",
        "ratio_0.75task_0.7",
        "task_0.7_ratio_0.5",
        "ratio_-1",
        "ratio_nan",
    ],
)
def test_another_form_is_refused_with_the_form_that_would_do(name: str) -> None:
    with pytest.raises(
        InputError, match=r"must have the form ratio_0\.25, task_0\.70 or ratio_0\.75_task_0\.70"
    ):
        parse_setting(name)


def test_a_ratio_above_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"asks for ratio 1\.5: a ratio is a share, from 0 to 1"):
        parse_setting("ratio_1.50")


def test_the_published_settings_are_seven_and_canonical() -> None:
    assert [setting.name for setting in PUBLISHED_SETTINGS] == [
        "ratio_0.10",
        "ratio_0.25",
        "ratio_0.50",
        "ratio_0.75",
        "ratio_0.75_task_0.70",
        "task_0.70",
        "ratio_1.00",
    ]


@given(st.integers(0, 10_000), st.integers(0, 30_000))
def test_a_canonical_name_reads_back_as_the_same_setting(ratio: int, task: int) -> None:
    setting = parse_setting(f"ratio_{ratio / 10_000:.4f}_task_{task / 10_000:.4f}")
    assert parse_setting(setting.name) == setting
    assert setting.gazing_ratio == ratio / 10_000
