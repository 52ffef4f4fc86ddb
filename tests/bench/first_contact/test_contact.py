"""First contact on a CPU: what there is is asked, and what there is not says why."""

import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.first_contact import contact, decode, patches, single_step, variants
from bench.first_contact.item import Item, Settings
from bench.first_contact.lines import answers, read_lines
from bench.first_contact.process import ask_all
from kernels.decode_step import triton
from kernels.decode_step.variants import PLAIN
from kernels.registry import OPERATIONS

REPOSITORY = Path(__file__).parents[3]
on_a_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="what a CPU has")


@pytest.fixture(autouse=True)
def native_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests run under the interpreter, which takes minutes over a step of full size."""
    for module in (contact, decode, variants, single_step):
        monkeypatch.setattr(module, "forms", lambda device: {"native": OPERATIONS["decode_step"].native})


def states(items: list[Item], out: Path) -> dict[str, Any]:
    assert ask_all(items, out, lambda: False) == 0
    return {name: line["state"] for name, line in answers(read_lines(out)).items()}


@on_a_cpu
def test_a_cpu_answers_what_it_can_and_says_of_the_rest_what_it_needs(tmp_path: Path) -> None:
    settings = Settings(small=True, traces=tmp_path / "traces")
    found = states(contact.items(settings), tmp_path / "contact.jsonl")
    assert {name for name, state in found.items() if state not in ("ok", "skipped")} == set()
    lines = answers(read_lines(tmp_path / "contact.jsonl"))
    assert lines["versions"]["torch"] == metadata.version("torch")
    step = lines["decode_step native float32 batch=2 cached=70"]
    assert 0 <= step["error"] <= step["tolerated"]
    assert "computes float32" in lines["decode_step native bfloat16 batch=1 cached=70"]["reason"]
    assert "CUDA device" in lines["capture native float32"]["reason"]
    assert lines["patches native ratio=0.10 tf32 on"]["agreement"] == 1.0
    assert "captures CUDA graphs" in lines["patches triton ratio=0.10 tf32 off"]["reason"]
    assert lines["time stages native float32 ratio=0.10"]["us.prefill_per_frame"] > 0
    assert lines["time step native float32 batch=1 cached=70"]["us.median"] > 0


@on_a_cpu
def test_traces_are_kept_and_named(tmp_path: Path) -> None:
    settings = Settings(small=True, traces=tmp_path / "traces")
    wanted = [item for item in contact.items(settings) if item.name.startswith("trace clip eager float32")]
    states(wanted, tmp_path / "contact.jsonl")
    (line,) = answers(read_lines(tmp_path / "contact.jsonl")).values()
    with gzip.open(tmp_path / "traces" / line["trace"]) as file:
        assert json.load(file)["traceEvents"]
    assert line["operations"] > 100
    assert "busy_share" not in line


def test_patches_that_are_others_are_wrong_and_say_where(monkeypatch: pytest.MonkeyPatch) -> None:
    right = patches.check("eager", "cpu", 0.05, False, None, 2)
    assert (right["right"], right["first_frame_with_other_patches"]) == (True, None)
    other = patches.clip(None, 2).flip(-1)
    choice = patches.cpu_choice(0.05, None, 2)
    monkeypatch.setattr(patches, "clip", lambda video, frames: other)
    monkeypatch.setattr(patches, "cpu_choice", lambda ratio, video, frames: choice)
    wrong = patches.check("eager", "cpu", 0.05, False, None, 2)
    assert wrong["right"] is False
    assert wrong["first_frame_with_other_patches"] == 0
    assert wrong["agreement"] < 1


def test_what_the_program_allows_of_tf32_is_as_it_was_afterwards() -> None:
    backends: Any = torch.backends
    before = backends.fp32_precision
    with patches._allowing(True):
        assert backends.fp32_precision == "tf32"
    assert backends.fp32_precision == before


def test_a_form_that_computes_wrongly_is_wrong_and_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    operation = OPERATIONS["decode_step"]

    def off(**given: Any) -> torch.Tensor:
        return operation.reference(**given) + 1

    timed: list[object] = []
    monkeypatch.setattr(variants, "time_step", lambda *given: timed.append(given) or {})
    ask = partial(variants._timed, Settings(small=True), "off", off, "float32", 1, 70, {})
    assert ask()["right"] is False
    assert timed == []
    right = partial(variants._timed, Settings(small=True), "plain", operation.reference, "float32", 1, 70, {})
    assert right()["right"] is True
    assert len(timed) == 1


def test_a_setting_of_launches_counts_inside() -> None:
    state = OPERATIONS["decode_step"].inputs(
        OPERATIONS["decode_step"].tested_shapes[0], torch.float32, torch.device("cpu")
    )["state"]
    before = triton.tiles_of(state, PLAIN)
    with variants.launched_with({"splits": 4, "keys": 32}):
        assert triton.tiles_of(state, PLAIN) == replace(before, splits=4, keys=32)
    assert triton.tiles_of(state, PLAIN) == before


def test_variants_are_every_form_and_every_setting_of_the_triton_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = OPERATIONS["decode_step"].reference
    monkeypatch.setattr(variants, "forms", lambda device: {"triton": call, "native": call})
    names = [item.name for item in variants.items(Settings("cuda:0"))]
    assert len(names) == len(set(names))
    assert "triton bfloat16 batch=64 cached=3200" in names
    assert "triton float32 batch=1 cached=3200 splits=32" in names
    assert not [name for name in names if name.startswith("native") and "splits" in name]


def test_one_step_is_taken_for_a_tool_that_watches(capsys: pytest.CaptureFixture[str]) -> None:
    assert single_step.main(["--cached", "70"]) == 0
    assert capsys.readouterr().out.startswith("native: (1, 2670), sum ")


def test_first_contact_imports_no_package_that_only_records_and_reports_need(tmp_path: Path) -> None:
    blocker = tmp_path / "sitecustomize.py"
    absent = ("pydantic", "typer", "rich", "av", "pandas", "pyarrow", "matplotlib", "skimage", "scipy")
    blocker.write_text(f"import sys\nsys.modules.update(dict.fromkeys({absent}))\n")
    script = (
        "import bench.first_contact.__main__, bench.first_contact.process, bench.first_contact.single_step\n"
        "from bench.first_contact import contact, variants\n"
        "from bench.first_contact.item import Settings\n"
        "from bench.first_contact.versions import versions\n"
        "print(len(contact.items(Settings(small=True))), versions(Settings())['pydantic'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
