import errno
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from autogaze.errors import InputError
from bench import journal, runner
from bench.devices import CPU
from bench.fork_server import ForkServerError
from bench.plan import make_plans
from bench.records import AxisValue, Cell, Record, Status
from suites.loader import Suite, load_suite
from suites.outlook import Effort, Outlook
from suites.workload import Axis, Inputs
from tests.bench.fake_workload import TOML, Fake, Rendezvous, write_suite

REPOSITORY = Path(__file__).parents[2]

PROCEED = """
import sys
from pathlib import Path
from bench import runner
from bench.commands.progress import PlainProgress
from rich.console import Console
runner.proceed(Path(sys.argv[1]), PlainProgress(Console()))
"""


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))


class Listener:
    """Remembers what it hears."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, int, int]] = []
        self.phases: list[str] = []
        self.ended: list[Record] = []

    def begin(self, cell: Cell, number: int, total: int, seconds_left: float, samples: int) -> None:
        self.begun.append((str(cell.axes["behaviour"]), number, total))

    def phase(self, name: str) -> None:
        self.phases.append(name)

    def end(self, record: Record) -> None:
        self.ended.append(record)


def begin(folder: Path, behaviours: list[str], inputs: Inputs | None = None) -> Path:
    suite = load_suite(str(write_suite(folder, behaviours)))
    (plan,) = make_plans(suite, [CPU])
    return runner.start(suite, plan, inputs or Inputs(), ("bench", "run"), folder / "results")


def keys(records: list[Record]) -> list[tuple[str, Status]]:
    return [(record.cell.key, record.status) for record in records]


def test_a_run_measures_every_cell_and_failures_do_not_end_it(tmp_path: Path) -> None:
    folder = begin(tmp_path, ["good", "raise", "killed", "unavailable", "print"])
    listener = Listener()
    records = runner.proceed(folder, listener)
    assert [record.status for record in records] == ["ok", "failed", "out_of_memory", "unsupported", "ok"]
    assert listener.begun[0] == ("good", 1, 5)
    assert listener.ended == records
    assert listener.phases[:2] == ["importing what the cells need", "looking ahead"]
    assert listener.phases[2:6] == ["start", "setup", "warm-up", "sample 1"]
    assert (folder / "samples.parquet").exists()
    assert (folder / "frames.parquet").exists()


def test_the_head_is_written_before_anything_is_measured(tmp_path: Path) -> None:
    folder = begin(tmp_path, ["good"])
    run, records = journal.read_run(folder)
    assert folder.name == run.id
    assert records == []
    assert run.settings["min_samples"] == 5
    assert run.environment.fields["device"] == "cpu"


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_run_killed_inside_a_cell_and_resumed_has_the_records_of_an_undisturbed_one(
    tmp_path: Path, kill: signal.Signals
) -> None:
    meeting = Rendezvous(tmp_path)
    behaviours = ["good", str(meeting.path), "raise", "print"]
    folder = begin(tmp_path, behaviours)
    parent = subprocess.Popen(
        [sys.executable, "-c", PROCEED, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert meeting.reached()
    parent.send_signal(kill)
    parent.wait()
    assert meeting.gone()
    assert len(journal.read_run(folder)[1]) == 1
    meeting.dissolve()
    resumed = runner.proceed(folder, Listener())
    (tmp_path / "again").mkdir()
    assert keys(resumed) == keys(runner.proceed(begin(tmp_path / "again", behaviours), Listener()))


def test_a_run_killed_between_cells_goes_on_with_the_next(tmp_path: Path) -> None:
    class Interrupting(Listener):
        def end(self, record: Record) -> None:
            raise KeyboardInterrupt

    folder = begin(tmp_path, ["good", "print"])
    with pytest.raises(KeyboardInterrupt):
        runner.proceed(folder, Interrupting())
    listener = Listener()
    records = runner.proceed(folder, listener)
    assert listener.begun == [("print", 1, 1)]
    assert [record.status for record in records] == ["ok", "ok"]


def test_cells_that_share_a_process_share_it_where_they_follow_each_other(tmp_path: Path) -> None:
    suite = write_suite(tmp_path, ["good", "print"])
    text = suite.read_text()
    suite.write_text(
        text.replace("[[cells]]", 'other = "tests.bench.fake_workload:Sharing"\n\n[[cells]]').replace(
            'workload = "fake"', 'workload = "other"'
        )
        + '[[cells]]\nworkload = "fake"\n[[cells]]\nworkload = "other"\nbehaviour = "last"\n'
    )
    (plan,) = make_plans(load_suite(str(suite)), [CPU])
    folder = runner.start(load_suite(str(suite)), plan, Inputs(), ("bench",), tmp_path / "results")
    records = runner.proceed(folder, Listener())
    assert [record.status for record in records] == ["ok"] * 4
    first, second, alone, later = (record.details.get("process") for record in records)
    assert first == second
    assert alone is None
    assert later not in (None, first)
    assert (folder / records[0].details["arrays"]).is_file()


def test_a_run_whose_peer_is_gone_is_not_resumed_into_failures(tmp_path: Path) -> None:
    suite = tmp_path / "mine.toml"
    suite.write_text(TOML.format(behaviours=["good", "peer"]).replace(":Fake", ":Accompanied"))
    loaded = load_suite(str(suite), given=["upstream"])
    (plan,) = make_plans(loaded, [CPU])
    folder = runner.start(loaded, plan, Inputs(upstream="/somewhere"), ("bench",), tmp_path / "results")
    head = folder / journal.RUN_FILE
    head.write_text(head.read_text().replace("/somewhere", "/nowhere"))
    with pytest.raises(InputError, match="UPSTREAM /nowhere is not a checkout"):
        runner.proceed(folder, Listener())
    assert journal.read_run(folder)[1] == []


def test_what_a_killed_process_was_writing_is_cleared_away(tmp_path: Path) -> None:
    folder = begin(tmp_path, ["good"])
    (folder / "arrays").mkdir()
    (folder / "arrays" / "0123.npz.partial").write_bytes(b"half")
    (folder / "arrays" / "0123.npz").write_bytes(b"whole")
    runner.proceed(folder, Listener())
    assert [path.name for path in (folder / "arrays").iterdir()] == ["0123.npz"]


def test_failures_are_measured_again_only_when_asked(tmp_path: Path) -> None:
    folder = begin(tmp_path, ["good", "raise"])
    runner.proceed(folder, Listener())
    again, retried = Listener(), Listener()
    runner.proceed(folder, again)
    runner.proceed(folder, retried, retry=True)
    assert again.begun == []
    assert retried.begun == [("raise", 1, 1)]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"cpu.model": "another"}, "was begun with CPU model 'another'"),
        ({"git.commit": "abc"}, "was begun at commit abc"),
        ({"device": "cuda:9"}, "was begun on cuda:9, which is not here"),
    ],
)
def test_a_run_is_not_resumed_elsewhere_or_on_other_code(
    tmp_path: Path, fields: dict[str, str], sentence: str
) -> None:
    run = journal.read_head(begin(tmp_path, ["good"]))[1]
    runner.check_resumable(run)  # Where it was begun it may go on.
    environment = run.environment.model_copy(update={"fields": run.environment.fields | fields})
    with pytest.raises(InputError, match=sentence):
        runner.check_resumable(run.model_copy(update={"environment": environment}))


def test_a_run_is_not_resumed_with_another_video(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    video.write_bytes(b"one")
    run = journal.read_head(begin(tmp_path, ["good"], Inputs(video=str(video))))[1]
    video.write_bytes(b"two")
    with pytest.raises(InputError, match="was begun with video"):
        runner.check_resumable(run)


def test_a_folder_of_pictures_is_known_by_its_pictures(tmp_path: Path) -> None:
    hashes = []
    for colours in (("red", "blue"), ("blue", "red"), ("red", "blue")):
        for number, colour in enumerate(colours):
            Image.new("RGB", (16, 16), colour).save(tmp_path / f"{number}.png")
        folder = begin(tmp_path, ["good"], Inputs(video=str(tmp_path)))
        hashes.append(journal.read_head(folder)[1].settings["video_sha256"])
    assert hashes[0] == hashes[2] != hashes[1]


def test_a_video_that_is_missing_or_empty_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    refusals = [("no.mp4", "cannot be read"), ("empty.mp4", "is empty"), ("", "holds no pictures")]
    for name, sentence in refusals:
        with pytest.raises(InputError, match=sentence):
            begin(tmp_path, ["good"], Inputs(video=str(tmp_path / name)))
    assert not (tmp_path / "results").exists()


def test_plain_progress_says_each_cell_and_its_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bench.commands.progress import PlainProgress

    runner.proceed(begin(tmp_path, ["good", "raise"]), PlainProgress(Console(width=40)))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[1/2] fake good chunk=16 float32 ratio_0.25 (about")
    assert lines[3].startswith("    failed: RuntimeError: something broke (")


class Foreseen(Fake):
    """Says beforehand what it is going to be."""

    @classmethod
    def foresee(cls, axes: Mapping[str, AxisValue], inputs: Inputs) -> Outlook:
        match axes["behaviour"]:
            case "nowhere" | "nowhere else":
                return Outlook(obstacle="engine 'fake' runs nowhere; use 'good'")
            case "huge":
                return Outlook(repetition=(Effort(operations=1),), certain_bytes=2**60)
            case "confused":
                raise RuntimeError("cannot tell")
        return Outlook(repetition=(Effort(operations=1),))


def foreseen_suite(folder: Path, behaviours: list[str]) -> Suite:
    path = write_suite(folder, behaviours)
    path.write_text(path.read_text().replace("tests.bench.fake_workload:Fake", f"{__name__}:Foreseen"))
    return load_suite(str(path))


def test_what_cannot_run_here_is_recorded_without_a_process(tmp_path: Path) -> None:
    suite = foreseen_suite(tmp_path, ["nowhere", "pid", "huge", "nowhere else", "confused"])
    (plan,) = make_plans(suite, [CPU])
    folder = runner.start(suite, plan, Inputs(), ("bench",), tmp_path / "results")
    listener = Listener()
    records = runner.proceed(folder, listener)
    assert [record.status for record in records] == [
        "unsupported",
        "ok",
        "out_of_memory",
        "unsupported",
        "ok",
    ]
    assert records[0].reason == "engine 'fake' runs nowhere; use 'good'"
    assert records[0].elapsed_seconds == 0.0
    assert "needs at least" in str(records[2].reason)
    assert listener.phases.count("setup") == 2
    assert [number for _, number, _ in listener.begun] == [1, 2, 3, 4, 5]


def test_a_plan_looks_ahead_and_measures_nothing(tmp_path: Path) -> None:
    suite = foreseen_suite(tmp_path, ["good", "nowhere"])
    (plan,) = make_plans(suite, [CPU])
    head = runner.head_of(suite, plan, Inputs(), ("bench",))
    found = runner.look_ahead(head, plan, tmp_path / "results")
    assert [each.obstacle for each in found.estimates] == [None, "engine 'fake' runs nowhere; use 'good'"]
    assert 0 < found.low <= found.seconds <= found.high
    assert not (tmp_path / "results").exists()


def test_what_a_cells_process_prints_lies_in_the_runs_folder_under_the_cells_name(tmp_path: Path) -> None:
    folder = begin(tmp_path, ["good", "print"])
    records = runner.proceed(folder, Listener())
    text = (folder / "printed.log").read_text()
    assert text == f"== {records[1].cell.key}\nnoise on standard output\n"


@pytest.mark.parametrize("video", ["rtsp://camera/1", "a.mp4,b.mp4"])
def test_sources_that_nothing_here_reads_are_refused_before_anything_is_written(
    tmp_path: Path, video: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(InputError, match=r"record some of it|names 2 videos, and a run measures one"):
        begin(tmp_path, ["good"], Inputs(video=video))
    assert not (tmp_path / "results").exists()


def test_two_runs_into_one_folder_do_not_write_into_each_other(tmp_path: Path) -> None:
    folder = begin(tmp_path, ["good"])
    with journal.appending(folder), pytest.raises(InputError, match="is being written by another process"):
        runner.proceed(folder, Listener())
    assert begin(tmp_path, ["good"]) != folder


def test_a_device_that_is_gone_is_named_before_a_process_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = begin(tmp_path, ["good"])
    head = folder / journal.RUN_FILE
    head.write_text(head.read_text().replace('"device": "cpu"', '"device": "cuda:7"'))
    monkeypatch.setattr(runner, "open_fork_server", lambda targets: pytest.fail("a process was started"))
    with pytest.raises(InputError, match="was begun on cuda:7, which is not here"):
        runner.proceed(folder, Listener())


def test_what_the_values_of_axes_need_is_imported_once_for_all_cells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported: list[list[str]] = []

    def refuse(targets: list[str]) -> None:
        imported.append(targets)
        raise ForkServerError("not here")

    folder = begin(tmp_path, ["good", "fail"])
    monkeypatch.setattr(runner, "open_fork_server", refuse)
    needing = Axis("good", preload={"good": ("a_module", "another"), "bad": ("never",)})
    monkeypatch.setattr(Fake, "axes", {**Fake.axes, "behaviour": needing})
    runner.proceed(folder, Listener())
    assert imported == [["tests.bench.fake_workload:Fake", "a_module", "another"]]


def test_a_cell_that_hangs_in_its_set_up_is_given_up_in_one_sentence(tmp_path: Path) -> None:
    path = write_suite(tmp_path, ["hang in setup", "good"])
    path.write_text(path.read_text().replace("timeout_seconds = 60", "timeout_seconds = 2"))
    suite = load_suite(str(path))
    (plan,) = make_plans(suite, [CPU])
    folder = runner.start(suite, plan, Inputs(), ("bench",), tmp_path / "results")
    hanging, good = runner.proceed(folder, Listener())
    assert (hanging.status, good.status) == (Status.TIMEOUT, Status.OK)
    assert hanging.reason == "not done after 2 s, in its set-up"


def _forbidden(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_results_folder_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal.tempfile, "TemporaryFile", _forbidden)
    with pytest.raises(
        InputError, match=r"results cannot be written \(Permission denied\): name one that can with OUT="
    ):
        begin(tmp_path, ["good"])


def test_a_run_of_another_user_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = begin(tmp_path, ["good"])
    monkeypatch.setattr(Path, "open", _forbidden)
    with (
        pytest.raises(InputError, match=r"cannot be written \(Permission denied\): let its owner finish it"),
        journal.appending(folder),
    ):
        pass
