import pytest

from autogaze.stages import count, observed_by, stage, took
from bench.meters.clocks import HostClock, StageClock, device_clock


class FakeEvent:
    def __init__(self, milliseconds: float) -> None:
        self.milliseconds = milliseconds

    def elapsed_time(self, end: "FakeEvent") -> float:
        return end.milliseconds - self.milliseconds


class FakeDevice:
    """Ten milliseconds of its own time pass between any two events."""

    def __init__(self) -> None:
        self.synchronised = 0
        self.events = 0

    def synchronise(self) -> None:
        self.synchronised += 1

    def event(self) -> FakeEvent:
        self.events += 1
        return FakeEvent(10.0 * self.events)


class FakeCounter:
    """Counts a thousand instructions more each time; None from the reading ``ends`` on."""

    obstacle = None

    def __init__(self, ends: int = 100) -> None:
        self.readings = 0
        self.ends = ends

    def count(self) -> int | None:
        self.readings += 1
        return 1000 * self.readings if self.readings <= self.ends else None

    def close(self) -> None:
        return


def test_every_stage_is_timed_and_a_childs_time_lies_inside_its_parents() -> None:
    clock = StageClock(device_clock("cpu"))
    with observed_by(clock), stage("gaze"), stage("gaze.steps"):
        pass
    times = clock.times()
    assert list(times) == ["gaze", "gaze.steps"]
    assert 0 < times["gaze.steps"].seconds < times["gaze"].seconds
    assert times["gaze"].device_seconds is None


def test_occurrences_of_a_stage_add_up() -> None:
    clock = StageClock(FakeDevice())
    with observed_by(clock):
        for _ in range(3):
            with stage("gaze.steps"):
                pass
    assert clock.times()["gaze.steps"].device_seconds == pytest.approx(0.03)


def test_only_top_level_stages_synchronise_the_device() -> None:
    device = FakeDevice()
    clock = StageClock(device)
    with observed_by(clock), stage("gaze"), stage("gaze.vision"), stage("gaze.vision.conv"):
        pass
    assert device.synchronised == 2


def test_a_stage_inside_itself_counts_once() -> None:
    clock = StageClock(FakeDevice())
    with observed_by(clock), stage("end_to_end"), stage("end_to_end"):
        pass
    assert clock.times()["end_to_end"].device_seconds == pytest.approx(0.01)


def test_work_is_added_up() -> None:
    clock = StageClock(device_clock("cpu"))
    with observed_by(clock):
        count("decode_steps")
        count("decode_steps", 4)
    assert clock.counters == {"decode_steps": 5}


def test_a_stage_that_raises_is_still_timed() -> None:
    clock = StageClock(device_clock("cpu"))
    with pytest.raises(RuntimeError), observed_by(clock), stage("gaze"):
        raise RuntimeError
    assert clock.times()["gaze"].seconds > 0


@pytest.mark.gpu
def test_cuda_stages_have_device_time_close_to_their_wall_clock() -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    clock = StageClock(device_clock("cuda:0"))
    matrix = torch.randn(4096, 4096, device="cuda:0")
    with observed_by(clock), stage("gaze"), stage("gaze.steps"):
        for _ in range(50):
            matrix @ matrix
    times = clock.times()
    gaze, steps = times["gaze"], times["gaze.steps"]
    assert gaze.device_seconds is not None
    assert steps.device_seconds is not None
    assert 0 < steps.device_seconds <= gaze.device_seconds <= gaze.seconds
    assert steps.seconds < gaze.seconds


def test_time_that_another_process_took_is_added_to_its_stage() -> None:
    clock = StageClock(HostClock())
    with observed_by(clock), stage("end_to_end"):
        took("gaze", 2.0)
        took("gaze", 1.0)
    times = clock.times()
    assert times["gaze"].seconds == 3.0
    assert times["end_to_end"].seconds < 1.0


def test_a_clock_hears_nothing_once_it_has_stopped_listening() -> None:
    clock = StageClock(HostClock())
    with observed_by(clock):
        took("gaze", 2.0)
    took("gaze", 1.0)
    count("decode_steps")
    with stage("gaze"):
        pass
    assert clock.times()["gaze"].seconds == 2.0
    assert clock.counters == {}


def test_instructions_are_counted_for_top_level_stages_and_occurrences_add_up() -> None:
    clock = StageClock(HostClock(), FakeCounter())
    with observed_by(clock), stage("end_to_end"):
        for _ in range(2):
            with stage("gaze"), stage("gaze.steps"):
                pass
    counts = {name: taken.instructions for name, taken in clock.times().items()}
    assert counts == {"end_to_end": 5000, "gaze": 2000, "gaze.steps": None}


def test_a_stage_of_which_a_part_was_not_counted_has_no_count() -> None:
    clock = StageClock(HostClock(), FakeCounter(ends=3))
    with observed_by(clock):
        for name in ("decode", "gaze", "decode"):
            with stage(name):
                pass
    assert [taken.instructions for taken in clock.times().values()] == [None, None]


def test_without_a_counter_there_are_no_instructions() -> None:
    clock = StageClock(HostClock())
    with observed_by(clock), stage("gaze"):
        pass
    assert clock.times()["gaze"].instructions is None
