"""Small trees to be measured in turns: a folder with one workload; all else is this project's."""

import sys
from pathlib import Path
from typing import Any

from bench.job import Job
from bench.records import Cell
from bench.turns.contest import Tree

_WORKLOAD = """
import os
from autogaze.stages import took
from suites.workload import Quality

class Work:
    axes, preload, notes, details = {{}}, (), [], {{}}

    def __init__(self, axes, inputs):
        self.calls = 0
        {setup}

    def run(self):
        self.calls += 1
        took("gaze", {seconds})  # so that tests do not depend on how busy the machine is
        {work}

    def quality(self, output):
        frame = dict(clip=0, frame=0, gazes=1, psnr={psnr})
        return Quality(patch_hash="{patches}", frames=[frame], counters=dict(clips=1, frames=1))
"""


def tree(
    folder: Path,
    seconds: float = 0.125,
    work: str = "pass",
    setup: str = "pass",
    psnr: float = 20.0,
    patches: str = "0123456789abcdef",
) -> Tree:
    folder.mkdir()
    text = _WORKLOAD.format(seconds=seconds, work=work, setup=setup, psnr=psnr, patches=patches)
    (folder / "small_work.py").write_text(text, encoding="utf-8")
    return Tree(folder, sys.executable)


def job(**more: Any) -> Job:
    fields = {"min_samples": 1, "time_budget_seconds": 0.0, "in_turns": True} | more
    cell = Cell(workload="work", axes={})
    return Job(cell=cell, target="small_work:Work", inputs={"device": "cpu"}, **fields)
