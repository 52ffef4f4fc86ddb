"""The process of first contact: asks one item after another, and ends behind an error that stays.

``python -m bench.first_contact.process --items MODULE:FUNCTION --out FILE`` and the fields of
:class:`~bench.first_contact.item.Settings`; items that have an answer in the file are not asked again.
"""

import argparse
import gc
import importlib
import math
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from bench.first_contact.item import Item, NotHere, Settings
from bench.first_contact.lines import (
    BEGUN,
    BROKE,
    FAILED,
    OK,
    SKIPPED,
    WRONG,
    Line,
    Lines,
    answers,
    read_lines,
)

STICKY = 3
"""Exit code of a process in which CUDA can do nothing any more."""
_ENOUGH = 3
"""So many items of a kind (the first word of their names) in a row that end their process, and the others of
that kind are not asked."""
_HOPELESS = f"the last {_ENOUGH} items of this kind ended their process"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.first_contact.process", description=__doc__)
    parser.add_argument("--items", required=True)
    parser.add_argument("--out", type=Path, required=True)
    add_settings(parser)
    given = parser.parse_args(arguments)
    module, _, function = given.items.partition(":")
    settings = settings_of(given)
    items: list[Item] = getattr(importlib.import_module(module), function)(settings)
    return ask_all(items, given.out, lambda: _is_broken(settings))


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Let a command line take the fields of :class:`Settings`."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0 ...")
    parser.add_argument("--pci-id", help="the GPU's place on the bus, for its clock policy")
    parser.add_argument("--small", action="store_true", help="sizes that a CPU is done with in seconds")
    parser.add_argument("--video", type=Path, help="the clip to choose patches of")
    parser.add_argument("--traces", type=Path, help="folder for traces that Perfetto opens")


def settings_of(given: argparse.Namespace) -> Settings:
    """Return the settings that a command line gave."""
    return Settings(given.device, given.pci_id, given.small, given.video, given.traces)


def ask_all(items: Sequence[Item], out: Path, is_broken: Callable[[], bool]) -> int:
    """Ask the items that have no answer in ``out``, write what they say; return an exit code, which is
    :data:`STICKY` where the device ``is_broken`` after one that failed."""
    done, lines = dict(answers(read_lines(out))), Lines(out)
    try:
        for item in items:
            if item.name in done:
                continue
            if _is_hopeless(item, done.values()):
                answer: Line = lines.write(item.name, SKIPPED, reason=_HOPELESS)
            else:
                lines.write(item.name, BEGUN)
                answer = _ask(item, lines, is_broken)
            done[item.name] = answer
            if answer.get(BROKE):
                return STICKY
            gc.collect()
        return 0
    finally:
        lines.close()


def _is_hopeless(item: Item, done: Iterable[Line]) -> bool:
    """Return whether the last items of its kind that were asked all ended their process."""
    alike = [line for line in done if line["item"].split()[0] == item.name.split()[0]]
    asked = [line for line in alike if line["state"] != SKIPPED]
    return len(asked) >= _ENOUGH and all(line.get(BROKE) for line in asked[-_ENOUGH:])


def _ask(item: Item, lines: Lines, is_broken: Callable[[], bool]) -> Line:
    """Ask one item, write its answer and return it."""
    started = time.perf_counter()
    # What hangs in a library hears no handler of Python's: the default one ends the process.
    signal.alarm(math.ceil(item.seconds))
    try:
        answer = item.ask()
        state = WRONG if answer.get("right") is False else OK
    except NotHere as reason:
        state, answer = SKIPPED, {"reason": str(reason)}
    except Exception as error:
        said = traceback.format_exception_only(error)[-1].strip().splitlines()[0]
        state, answer = FAILED, {"reason": said, "traceback": traceback.format_exc()}
        answer |= {BROKE: True} if is_broken() else {}
    finally:
        signal.alarm(0)
    return lines.write(item.name, state, seconds=round(time.perf_counter() - started, 3), **answer)


def _is_broken(settings: Settings) -> bool:
    """Return whether CUDA does nothing any more in this process."""
    if not settings.is_cuda:
        return False
    try:
        import torch

        torch.cuda.synchronize(settings.device)
        torch.cuda.empty_cache()
        return float(torch.ones(1, device=settings.device).sum()) != 1.0
    except Exception:
        return True


if __name__ == "__main__":
    sys.exit(main())
