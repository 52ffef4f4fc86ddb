import math
from pathlib import Path

import numpy as np
import pytest

from autogaze.errors import InputError
from bench.calibration import (
    Calibration,
    Spread,
    StageNoise,
    add_session,
    default_folder,
    floors_in_turns,
    machine_of,
    noise_sentence,
    read_calibration,
    spread_between_runs,
    spread_in_turns,
)
from tests.bench import builders

HERE = {"device.name": "cpu", "cpu.model": "AMD EPYC", "cpu.threads": 2, "torch.version": "2.13.0"}
NOISE = StageNoise(medians=(1.0, 1.02, 1.01, 0.99), ratios=(1.01, 0.99))


def test_sessions_add_up_and_are_kept_per_machine(tmp_path: Path) -> None:
    first, second = (builders.session({"cell": {"gaze": NOISE}}, seconds=seconds) for seconds in (1.0, 2.0))
    path = add_session(HERE, first, tmp_path)
    assert path.name.startswith("cpu-amd-epyc-")
    assert add_session({**HERE, "torch.version": "2.14.0"}, second, tmp_path) == path
    assert read_calibration(HERE, tmp_path).sessions == (first, second)
    assert read_calibration({**HERE, "cpu.threads": 4}, tmp_path).sessions == ()


def test_a_machine_is_told_by_its_hardware_alone() -> None:
    assert machine_of({**HERE, "gpu.name": None}) == {
        "device.name": "cpu",
        "cpu.model": "AMD EPYC",
        "cpu.threads": 2,
    }


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    path = add_session(HERE, builders.session({}), tmp_path)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=rf"calibration {path} cannot be read .*: delete it"):
        read_calibration(HERE, tmp_path)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be"):
        add_session(HERE, builders.session({}), tmp_path / "file")


def test_calibrations_are_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "autogaze" / "calibrations"


def test_sessions_of_other_commits_or_with_changes_do_not_mix() -> None:
    one, other = builders.session({}, commit="a"), builders.session({}, commit="b")
    again, changed = builders.session({}, commit="a"), builders.session({}, commit="a", dirty=True)
    assert Calibration(machine={}, sessions=(one, other, again)).of("fake", 1) == (one, again)
    assert Calibration(machine={}, sessions=(one, again, changed)).of("fake", 1) == (changed,)
    assert Calibration(machine={}, sessions=(one, other)).of("fake", 2) == ()


def drawn(sigma: float, processes: int, seed: int, shift: float = 0.0) -> StageNoise:
    rng = np.random.default_rng(seed)
    medians = np.exp(rng.normal(shift, sigma, processes))
    ratios = np.exp(rng.normal(0.0, sigma * math.sqrt(2), processes))
    return StageNoise(medians=tuple(medians), ratios=tuple(ratios))


def test_spreads_are_those_of_the_ratio_of_two_processes_and_outliers_hardly_move_them() -> None:
    noise = drawn(0.02, 200, seed=0)
    session = builders.session({"cell": {"gaze": noise}})
    for spread in (
        spread_between_runs([session], "cell", "gaze"),
        spread_in_turns([session], "cell", "gaze"),
    ):
        assert spread is not None
        assert spread.sigma == pytest.approx(0.02 * math.sqrt(2), rel=0.15)
    burst = noise.model_copy(update={"medians": (*noise.medians[:180], *[9.0] * 20)})
    disturbed = spread_between_runs([builders.session({"cell": {"gaze": burst}})], "cell", "gaze")
    assert disturbed is not None
    assert disturbed.sigma < 1.5 * 0.02 * math.sqrt(2)


def test_what_sessions_differ_by_is_part_of_the_spread() -> None:
    sessions = [
        builders.session({"cell": {"gaze": drawn(0.01, 16, seed, shift)}})
        for seed, shift in ((0, 0.0), (1, 0.2))
    ]
    apart = spread_between_runs(sessions, "cell", "gaze")
    assert apart is not None
    assert apart.sigma > 0.15


def test_an_unknown_cell_or_stage_has_no_spread() -> None:
    session = builders.session({"cell": {"gaze": NOISE}})
    assert spread_between_runs([session], "cell", "decode") is None
    assert spread_in_turns([session], "other", "gaze") is None
    assert floors_in_turns([session], "cell").keys() == {"gaze"}


def test_a_floor_is_wider_for_few_processes_and_narrower_for_a_mean_of_several() -> None:
    assert Spread(0.02, 3).floor(0.01) == math.inf
    few, many = Spread(0.02, 4).floor(0.01), Spread(0.02, 400).floor(0.01)
    assert few > 1.1
    assert many == pytest.approx(math.exp(2.576 * 0.02), abs=0.001)
    assert Spread(0.02, 400).floor(0.01, mean_of=4) == pytest.approx(many**0.5, abs=0.001)


def test_two_runs_of_one_tree_exceed_the_floor_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(3)
    exceeded = 0
    for seed in range(400):
        session = builders.session({"cell": {"gaze": drawn(0.02, 16, seed)}})
        spread = spread_between_runs([session], "cell", "gaze")
        assert spread is not None
        exceeded += abs(rng.normal(0, 0.02 * math.sqrt(2))) > math.log(spread.floor(0.05))
    assert exceeded <= 0.05 * 400 * 1.5


def test_reports_have_a_sentence() -> None:
    assert noise_sentence([], 0.01) is None
    said = noise_sentence([builders.session({"cell": {"gaze": NOISE}}, others=0.2)], 0.01)
    assert said is not None
    assert said.endswith("calibrated 2026-01-01 00:00 at c0ffee, others had 20% of the CPUs")
