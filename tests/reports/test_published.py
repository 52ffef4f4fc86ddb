import pytest

from reports.published import H100, matching, published_figures


def test_every_published_row_is_there() -> None:
    sweeps = [figure.sweep for figure in published_figures()]
    assert {sweep: sweeps.count(sweep) for sweep in sweeps} == {
        "settings": 7,
        "requirement": 6,
        "ratio cap": 8,
        "chunk size": 4,
    }


def test_times_are_in_seconds_a_frame() -> None:
    figure = next(figure for figure in matching("ratio_0.25", 16) if figure.source == H100)
    assert figure.gaze == pytest.approx(0.7907 / 16, abs=1e-5)
    assert figure.reconstruct == pytest.approx(0.1131 / 16, abs=1e-5)
    assert figure.psnr == pytest.approx(27.753, abs=1e-3)


def test_only_the_same_setting_and_chunk_size_match() -> None:
    assert matching("ratio_0.25", 8) == []
    assert {figure.name for figure in matching("task_0.70", 16)} == {
        "H100",
        "RTX 3090, Bench2Drive front camera, requirement 0.7",
    }


def test_every_source_is_marked_as_published_elsewhere() -> None:
    assert all(figure.source.startswith("published elsewhere: ") for figure in published_figures())
