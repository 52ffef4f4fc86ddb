"""``python -m bench.first_contact``: asks all items, in as many processes as that takes.

A line of JSON for each in ``--out``. The exit code is 1 where an item failed or its answer is wrong.
"""

import argparse
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from autogaze.child_process import fate
from bench.first_contact.lines import BROKE, FAILED, WRONG, Lines, answers, left_open, read_lines
from bench.first_contact.process import STICKY, add_settings

PARTS = {
    "contact": "bench.first_contact.contact:items",
    "variants": "bench.first_contact.variants:items",
}
"""Part to ``module:function`` that returns its items."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.first_contact", description=__doc__)
    parser.add_argument("--part", default="contact", help="contact, variants, or module:function")
    parser.add_argument("--out", type=Path, default=Path("contact.jsonl"), help="file of the answers")
    add_settings(parser)
    given = parser.parse_args(arguments)
    passed = [
        word
        for name in ("device", "pci_id", "video", "traces")
        if (value := getattr(given, name)) is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
    command = (
        *(sys.executable, "-X", "faulthandler", "-m", "bench.first_contact.process"),
        *("--items", PARTS.get(given.part, given.part), "--out", str(given.out)),
        *passed,
        *(["--small"] if given.small else []),
    )
    ask_to_the_end(command, given.out)
    states = Counter(str(line["state"]) for line in answers(read_lines(given.out)).values())
    print(f"{given.out}: " + ", ".join(f"{number} {state}" for state, number in states.items()))
    return int(bool(states[WRONG] + states[FAILED]))


def ask_to_the_end(command: Sequence[str], out: Path) -> None:
    """Start processes, one after another, until every item has its answer: each goes on behind the item at
    which the one before ended."""
    while True:
        before = len(answers(read_lines(out)))
        exit_code = subprocess.call(command, stdin=subprocess.DEVNULL)
        lines = read_lines(out)
        item = left_open(lines)
        if item is None and (exit_code == 0 or (exit_code == STICKY and len(answers(lines)) > before)):
            if exit_code == 0:
                return
            continue
        late = exit_code == -signal.SIGALRM
        reason = "it took longer than it may" if late else f"the process {fate(exit_code)}"
        answer = Lines(out)
        answer.write(item or "the process itself", FAILED, reason=reason, **{BROKE: True})
        answer.close()
        if item is None:
            return


if __name__ == "__main__":
    sys.exit(main())
