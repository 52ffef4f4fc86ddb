"""The released package beside ours: what it may be, how it is asked, and what becomes of its answers."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from autogaze.embedded import load_gaze_model
from autogaze.errors import InputError
from autogaze.models.autogaze.engines import choose_engine
from bench.job import Job
from bench.records import Cell, Record, Status
from bench.worker import measure
from suites import released, video
from suites.released import BATCH_MATES, PEER_MEMORY, RELEASED, ReleasedPackage, check_upstream
from suites.settings import parse_setting
from suites.video import AXES, EndToEnd, Gaze, Reconstruct
from suites.workload import Inputs
from tests.bench.fake_workload import Rendezvous
from tests.suites.fake_upstream import write_checkout, write_gazes

REPOSITORY = Path(__file__).parents[2]
ARCH = load_gaze_model().arch
GRID = ARCH.grid


def axes(**changes):
    usual = {"setting": "ratio_0.02", "chunk": 2, "engine": "released"}
    return {name: axis.default for name, axis in AXES.items()} | usual | changes


@pytest.fixture(autouse=True)
def short_repetitions(monkeypatch):
    monkeypatch.setattr(video, "CLIP_FRAMES", 2)
    monkeypatch.setenv(
        "PYTHONPATH", str(REPOSITORY)
    )  # So that the child would find our package, if it could.


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.npz"
    np.savez(path, frames=np.random.default_rng(0).integers(0, 256, (2, 60, 80, 3), dtype=np.uint8))
    return str(path)


def measured(upstream: str, clip: str, samples: int = 5) -> Record:
    cell = Cell(workload="gaze", axes=axes())
    inputs = {"device": "cpu", "video": clip, "upstream": upstream}
    job = Job(
        cell=cell, target="suites.video:Gaze", inputs=inputs, min_samples=samples, time_budget_seconds=0.0
    )
    return measure(job, lambda event: None)


@pytest.fixture(scope="module")
def chosen(clip):
    """What our engine chooses in the clip."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "CLIP_FRAMES", 2)
        return [result.gaze for result in Gaze(axes(engine="eager"), Inputs(video=clip)).run()]


def test_a_package_is_timed_in_turns_with_ours_and_agrees_in_the_patches_that_both_choose(
    tmp_path, clip, chosen
):
    upstream = write_checkout(tmp_path, quick=False)
    write_gazes(upstream, chosen, change=2)
    record = measured(upstream, clip)
    assert record.status is Status.OK, record.reason
    assert record.quality["agreement"] == pytest.approx(3 / 5)
    assert (record.counters["selected_patches"], record.counters["frames"]) == (10, 2)
    by_stage = {
        stage: [sample.index for sample in record.samples if sample.stage == stage and not sample.warmup]
        for stage in ("end_to_end", "gaze", "ours")
    }
    assert all(indices == [0, 1, 2, 3, 4] for indices in by_stage.values())
    assert record.details["gaze.engine"] == "released"
    best = choose_engine("auto", ARCH, torch.device("cpu"), torch.float32)
    assert record.details["ours.engine"] == best
    assert record.details["released.torch"] == torch.__version__
    assert record.details["released.transformers"] == "4.51.3"
    assert record.details["released.attention"] == "attn_mode=sdpa"
    assert record.memory.resident_peak > 2**20


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="is not a checkout of the released code: it has no folder autogaze/"
    ):
        check_upstream(str(tmp_path), None)


def test_this_project_is_not_measured_against_itself():
    with pytest.raises(InputError, match="holds this project, which would be measured against itself"):
        check_upstream(str(REPOSITORY), None)


def test_an_engine_that_needs_a_checkout_asks_for_one():
    with pytest.raises(InputError, match="no checkout of it is named: give UPSTREAM="):
        Gaze.check(axes(), Inputs())


def test_our_own_engines_need_none(monkeypatch):
    asked = []
    monkeypatch.setattr(video, "check_upstream", lambda *upstream: asked.append(upstream))
    Gaze.check(axes(engine="eager"), Inputs())
    assert asked == []
    Gaze.check(axes(engine="released"), Inputs(upstream="/somewhere"))
    assert asked == [("/somewhere", None)]


def test_an_interpreter_that_is_not_there_is_refused(tmp_path):
    upstream = write_checkout(tmp_path)
    with pytest.raises(InputError, match="UPSTREAM_PYTHON /nowhere/python is not a program that can be run"):
        check_upstream(upstream, "/nowhere/python")


def test_a_program_that_is_no_interpreter_is_refused(tmp_path):
    upstream, program = write_checkout(tmp_path), tmp_path / "python"
    program.write_text("no program")
    program.chmod(0o755)
    with pytest.raises(InputError, match="cannot be started"):
        check_upstream(upstream, str(program))
    with pytest.raises(InputError, match=r"cannot be imported by .*true \(.*ended with exit code 0"):
        check_upstream(upstream, "true")


@pytest.mark.parametrize("regular", [False, True])
def test_a_package_that_cannot_be_imported_is_refused_with_the_last_line_it_printed(tmp_path, regular):
    upstream = write_checkout(tmp_path, at_import="import nowhere_to_be_found")
    if regular:
        (tmp_path / "autogaze/__init__.py").touch()
    with pytest.raises(InputError) as refusal:
        check_upstream(upstream, None)
    assert "(ModuleNotFoundError: No module named 'nowhere_to_be_found')" in str(refusal.value)
    assert "UPSTREAM_PYTHON=" in str(refusal.value)


def test_a_package_that_ends_the_interpreter_is_refused_with_its_last_words(tmp_path):
    upstream = write_checkout(tmp_path, at_import="sys.exit('needs another Python')")
    with pytest.raises(InputError, match="needs another Python"):
        check_upstream(upstream, None)


LOAD = (
    "import sys; from pathlib import Path; from suites.released import ReleasedPackage; "
    "ReleasedPackage(sys.argv[1]).load(Path(sys.argv[2]), 'cpu', 'float32', 1)"
)


def weights(folder: Path) -> Path:
    (folder / "model.safetensors").touch()
    return folder


def load(upstream: str, folder: Path) -> dict[str, str]:
    """Have the package load; return what it says of itself."""
    package = ReleasedPackage(upstream)
    try:
        package.load(weights(folder), "cpu", "float32", 1)
    finally:
        package.close()
    return package.details


@pytest.mark.parametrize(
    ("statement", "error", "sentence"),
    [
        ("raise KeyError('attn_mode')", ChildProcessError, "failed at 'load': KeyError: 'attn_mode'"),
        ("raise MemoryError('no room')", MemoryError, "failed at 'load': MemoryError: no room"),
        (
            "sys.stderr.write('out of ideas\\n'); os._exit(3)",
            ChildProcessError,
            "ended with exit code 3 at 'load': out of ideas",
        ),
        ("os.kill(os.getpid(), signal.SIGKILL)", ChildProcessError, "died of SIGKILL at 'load'"),
    ],
)
def test_what_goes_wrong_in_the_package_ends_with_its_last_words(tmp_path, statement, error, sentence):
    with pytest.raises(error, match=sentence):
        load(write_checkout(tmp_path, at_load=statement), tmp_path)


def test_a_package_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    upstream = write_checkout(tmp_path, at_load="print('thinking'); threading.Event().wait()")
    package = ReleasedPackage(upstream)
    monkeypatch.setattr(released, "PATIENCE_SECONDS", 0.2)
    with pytest.raises(ChildProcessError, match=r"did not answer 'load' within 0\.2 s"):
        package.load(weights(tmp_path), "cpu", "float32", 1)
    package.close()
    with pytest.raises(ProcessLookupError):
        subprocess.os.kill(package.pid, 0)


def test_a_package_amid_a_call_ends_with_the_process_that_asked(tmp_path):
    meeting = Rendezvous(tmp_path)
    says = f"pipe = open({str(meeting.path)!r}, 'w'); pipe.write('here'); pipe.flush(); "
    upstream = write_checkout(tmp_path, at_load=says + "threading.Event().wait()")
    command = [sys.executable, "-c", LOAD, upstream, str(weights(tmp_path))]
    parent = subprocess.Popen(command)
    assert meeting.reached()
    parent.kill()
    parent.wait()
    assert meeting.gone()


def test_a_package_that_prints_much_does_not_block(tmp_path):
    shouts = "print('out ' * 2**20); sys.stderr.write('err ' * 2**20); os.write(1, b'raw ' * 2**20)"
    details = load(write_checkout(tmp_path, at_load=shouts), tmp_path)
    assert details["released.attention"] == "attn_mode=sdpa"


def test_a_package_that_breaks_gives_a_failed_cell(tmp_path, clip):
    upstream = write_checkout(tmp_path, at_load="raise KeyError('attn_mode')")
    record = measured(upstream, clip)
    assert record.status is Status.FAILED
    assert "the released package failed at 'load': KeyError: 'attn_mode'" in record.reason
    assert "from_pretrained" in record.details["traceback"]


def test_the_commit_of_the_checkout_is_recorded(tmp_path):
    (tmp_path / "code").mkdir()
    upstream = write_checkout(tmp_path / "code")

    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        command = ["git", "-C", upstream, *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit() -> str | None:
        package = ReleasedPackage(upstream)
        package.close()
        return package.details.get("released.commit")

    assert commit() is None
    git("init", "-q")
    git("add", "autogaze")
    git("commit", "-q", "-m", "all")
    assert commit() == git("rev-parse", "HEAD")
    (Path(upstream) / "autogaze/models/autogaze/__init__.py").write_text(MINIMAL)
    assert commit() == git("rev-parse", "HEAD") + "-dirty"


MINIMAL = "class AutoGaze: pass"


class StandIn:
    """A peer in this process: our own model, which takes two seconds by its own account."""

    pid = 1

    def __init__(self):
        self.details = {"released.torch": "0.0"}
        self.model, self.videos, self.closed = load_gaze_model(), {}, False

    def hand_over(self, call, video):
        self.videos[call] = video

    def gaze(self, call, setting, grid, device):
        with torch.inference_mode():
            return self.model({"video": self.videos[call]}, gazing_ratio=setting.gazing_ratio or 0.02), 2.0

    def forget_peaks(self):
        pass

    def peaks(self):
        return {"resident_peak": 7}

    def close(self):
        self.closed = True


@pytest.fixture
def stand_in(monkeypatch):
    made = StandIn()
    monkeypatch.setattr(video, "load_peer", lambda inputs, dtype: made)
    return made


def test_a_peer_that_chooses_the_same_patches_agrees_in_all_and_its_own_clock_is_believed(stand_in, clip):
    record = measured("", clip, samples=2)
    assert record.status is Status.OK, record.reason
    assert record.quality["agreement"] == 1.0
    assert record.memory.resident_peak == 7
    assert {sample.seconds for sample in record.samples if sample.stage == "gaze"} == {2.0}


def test_the_whole_way_is_measured_with_the_patches_of_the_peer(stand_in, clip):
    workload, ours = EndToEnd(axes(), Inputs(video=clip)), EndToEnd(axes(engine="eager"), Inputs(video=clip))
    quality = workload.quality(workload.run())
    assert quality.patch_hash == ours.quality(ours.run()).patch_hash
    assert quality.figures["agreement"] == 1.0
    assert PEER_MEMORY in workload.notes
    assert torch.equal(workload.run_ours()[0].gazing_pos, workload.run()[0].gaze.gazing_pos)


def test_reconstruction_is_never_timed_as_the_peers():
    assert RELEASED not in Reconstruct.axes["engine"].known


def test_patches_that_depend_on_batch_mates_are_noted(stand_in, clip):
    alone = Gaze(axes(setting="task_0.70", chunk=1), Inputs(video=clip))
    budget = Gaze(axes(setting="ratio_0.02", chunk=1, batch=2), Inputs(video=clip))
    mates = Gaze(axes(setting="task_0.70", chunk=1, batch=2), Inputs(video=clip))
    assert [BATCH_MATES in each.notes for each in (alone, budget, mates)] == [False, False, True]


def test_positions_that_do_not_fit_their_padding_are_refused(tmp_path):
    path = tmp_path / "gaze.npz"
    np.savez(
        path,
        gazing_pos=np.zeros((1, 4), int),
        if_padded_gazing=np.zeros((1, 4), bool),
        num_gazing_each_frame=np.array([5]),
    )
    with pytest.raises(ChildProcessError, match="and 5 slots, which do not fit together"):
        released._gaze_output(path, GRID, torch.device("cpu"))


def test_the_interpreter_of_this_project_runs_the_package_unless_another_is_named(tmp_path):
    package = ReleasedPackage(write_checkout(tmp_path))
    package.close()
    assert package.details["released.interpreter"] == sys.executable


@pytest.mark.parametrize(
    ("setting", "asked"),
    [
        ("ratio_0.25", {"gazing_ratio": 0.25}),
        ("task_0.70", {"gazing_ratio": 1.0, "task_loss_requirement": 0.7}),
        ("ratio_0.25_task_0.70", {"gazing_ratio": 0.25, "task_loss_requirement": 0.7}),
    ],
)
def test_a_setting_is_asked_for_as_the_released_call_takes_it(tmp_path, monkeypatch, setting, asked):
    package = ReleasedPackage(write_checkout(tmp_path))
    package.close()
    heard = {}
    monkeypatch.setattr(package, "_ask", lambda command, **arguments: heard.update(arguments) or 1.5)
    monkeypatch.setattr(released, "_gaze_output", lambda path, grid, device: "patches")
    assert package.gaze(3, parse_setting(setting), GRID, torch.device("cpu")) == ("patches", 1.5)
    assert {name: value for name, value in heard.items() if name not in ("call", "path")} == asked
    assert heard["call"] == 3
