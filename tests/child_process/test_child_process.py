"""Processes that are spoken to in lines: what they are told, what they may do, and how they end."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autogaze import child_process
from autogaze.child_process import ChildProcess, fate
from tests.bench.fake_workload import Rendezvous

REPOSITORY = Path(__file__).parents[2]

HEAD = """
import os, subprocess, sys
commands, answers = (int(descriptor) for descriptor in sys.argv[1:3])
lines, pipe = os.fdopen(commands), os.fdopen(answers, "w")

def answer(what):
    print(what, file=pipe, flush=True)
"""


def soon() -> float:
    return time.monotonic() + 60


def program(folder: Path, statements: str) -> str:
    """Write a program that can ``answer``; return its path."""
    path = folder / "program.py"
    path.write_text(HEAD + statements)
    return str(path)


def test_lines_are_answered_one_by_one(tmp_path: Path) -> None:
    with ChildProcess(program(tmp_path, "for line in lines: answer(line.strip().upper())")) as child:
        for word in ("one", "two"):
            child.send(word)
            assert child.receive(soon()) == word.upper()


def test_a_module_finds_its_arguments_and_the_folder_it_runs_in(tmp_path: Path) -> None:
    program(tmp_path, "answer(sys.argv[3:] + [sys.path[0]])")
    with ChildProcess("program", "a", "b", folder=tmp_path) as child:
        assert child.receive(soon()) == str(["a", "b", str(tmp_path)])


def test_nothing_can_be_imported_from_the_folder_of_the_package(tmp_path: Path) -> None:
    with ChildProcess(program(tmp_path, "import start"), folder=tmp_path) as child:
        assert child.exit_code(soon()) == 1
        assert "ModuleNotFoundError: No module named 'start'" in child.printed.tail()


def test_what_it_prints_is_no_answer_and_its_last_lines_are_kept(tmp_path: Path) -> None:
    shouts = "print('out ' * 2**20); os.write(1, b'raw ' * 2**20); print('\\nlast', file=sys.stderr)"
    with ChildProcess(program(tmp_path, f"{shouts}\nsys.stdout.flush()\nanswer('done')")) as child:
        assert child.receive(soon()) == "done"
        assert child.exit_code(soon()) == 0
        assert "last" in child.printed.tail().splitlines()
        assert len(child.printed.tail()) <= 2**16


def test_what_was_printed_before_can_be_forgotten(tmp_path: Path) -> None:
    says = "for line in lines:\n    print(line, flush=True)\n    answer('said')"
    with ChildProcess(program(tmp_path, says)) as child:
        child.send("old")
        child.receive(soon())
        child.printed.forget()
        child.send("new")
        child.receive(soon())
        assert child.printed.tail() == "new"


def test_what_it_starts_finds_no_input(tmp_path: Path) -> None:
    asks = "answer(len(subprocess.run([sys.executable, '-c', 'print(input())'], capture_output=True).stdout))"
    with ChildProcess(program(tmp_path, asks)) as child:
        child.send("a command")
        assert child.receive(soon()) == "0"


@pytest.mark.parametrize(
    ("statement", "words"),
    [("os._exit(3)", "ended with exit code 3"), ("os.kill(os.getpid(), 11)", "died of SIGSEGV")],
)
def test_a_child_that_is_gone_has_no_more_to_say(tmp_path: Path, statement: str, words: str) -> None:
    with ChildProcess(program(tmp_path, f"answer('hello')\n{statement}")) as child:
        assert child.receive(soon()) == "hello"
        with pytest.raises(EOFError):
            child.receive(soon())
        child.send("too late")
        assert fate(child.exit_code(soon())) == words


def test_a_child_that_does_not_answer_in_time_lives_on_until_it_is_closed(tmp_path: Path) -> None:
    with ChildProcess(program(tmp_path, "next(lines)\nanswer('yes')\nnext(lines)")) as child:
        with pytest.raises(TimeoutError):
            child.receive(time.monotonic())
        with pytest.raises(TimeoutError):
            child.exit_code(time.monotonic())
        child.send("well?")
        assert child.receive(soon()) == "yes"
    with pytest.raises(ProcessLookupError):
        os.kill(child.pid, 0)


def test_a_child_that_may_finish_cleans_up(tmp_path: Path) -> None:
    cleans = f"list(lines)\nopen({str(tmp_path / 'clean')!r}, 'w').close()"
    with ChildProcess(program(tmp_path, cleans)) as child:
        child.finish(soon())
    assert (tmp_path / "clean").exists()


def test_the_leader_of_a_group_takes_with_it_what_it_has_started(tmp_path: Path) -> None:
    meeting = Rendezvous(tmp_path)
    waits = f"pipe = open({str(meeting.path)!r}, 'w'); pipe.write('here'); pipe.flush(); "
    waits += "__import__('threading').Event().wait()"
    starts = f"subprocess.Popen([sys.executable, '-c', {waits!r}])\nlist(lines)"
    child = ChildProcess(program(tmp_path, starts), leads_group=True)
    assert meeting.reached()
    child.close()
    assert meeting.gone()


PARENT = """
import sys, threading
from autogaze.child_process import ChildProcess
child = ChildProcess(sys.argv[1])
child.send("go")
threading.Event().wait()
"""


def test_a_child_amid_its_work_dies_with_its_parent(tmp_path: Path) -> None:
    meeting = Rendezvous(tmp_path)
    works = f"next(lines)\nheld = open({str(meeting.path)!r}, 'w')\nheld.write('here')\nheld.flush()\n"
    works += "__import__('threading').Event().wait()"
    command = [sys.executable, "-c", PARENT, program(tmp_path, works)]
    parent = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
    assert meeting.reached()
    parent.kill()
    parent.wait()
    assert meeting.gone()


def test_a_child_whose_parent_is_gone_before_it_starts_ends_at_once(tmp_path: Path) -> None:
    start = Path(child_process.__file__).with_name("start.py")
    not_its_parent = "1" if os.getpid() != 1 else "2"
    command = [sys.executable, str(start), not_its_parent, program(tmp_path, "answer('alive')")]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
