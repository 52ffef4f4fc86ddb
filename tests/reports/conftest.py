"""One run and its report, written once for all tests that only read them."""

from pathlib import Path

import pytest

from reports import write_all, write_comparable
from reports.results import CellResult, load_results
from tests.reports.fake_run import PLAN, cell, ok_record, run_of, usual_run, write_run


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CPU run of ten cells with untrained weights, seven of them ok, and its report."""
    folder = usual_run(tmp_path_factory.mktemp("results"))
    write_all(folder)
    return folder


@pytest.fixture(scope="session")
def gpu_run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the same cells on a GPU with trained weights, all ok; without a report."""
    cells = [cell(setting, chunk) for setting, chunk in PLAN]
    run = run_of(
        cells,
        device="NVIDIA H200",
        run_id="20260302T120000Z-default-h200-3c4d",
        environment={"gpu.driver": "570.86", "device": "cuda:0"},
    )
    records = [ok_record(which, speed=6.0, notes=(), cuda=True) for which in cells]
    return write_run(tmp_path_factory.mktemp("results"), run, records)


@pytest.fixture(scope="session")
def comparable_folder(
    run_folder: Path, gpu_run_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One report over both runs."""
    folder = tmp_path_factory.mktemp("comparable")
    write_comparable([run_folder, gpu_run_folder], folder)
    return folder


@pytest.fixture
def results(run_folder: Path) -> list[CellResult]:
    return load_results([run_folder])


@pytest.fixture
def gpu_results(gpu_run_folder: Path) -> list[CellResult]:
    return load_results([gpu_run_folder])
