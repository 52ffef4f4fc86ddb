from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from bench.meters.power import NvmlMeter
from bench.parquet import TELEMETRY_COLUMNS, export
from bench.records import FrameQuality
from tests.bench import builders
from tests.bench.meters import fake_nvml

CELL = builders.cell()


def test_every_sample_and_every_frame_is_a_row(tmp_path: Path) -> None:
    record = builders.record(CELL, {"end_to_end": [1.0, 2.0], "gaze": [0.5, 0.6]})
    telemetry = record.samples[0].model_copy(update={"telemetry": {"power_watts": 300.0}})
    record = record.model_copy(
        update={
            "samples": (telemetry, *record.samples[1:]),
            "counters": {"decode_steps": 7.0},
            "frames": tuple(FrameQuality(clip=0, frame=frame, gazes=3, psnr=20.0) for frame in range(3)),
        }
    )
    folder = builders.write(builders.run([CELL]), [record], tmp_path)
    samples, frames = (pd.read_parquet(path) for path in export(folder))
    assert list(samples["seconds"]) == [1.0, 2.0, 0.5, 0.6]
    assert list(samples["stage"]) == ["end_to_end", "end_to_end", "gaze", "gaze"]
    assert {dict(work)["decode_steps"] for work in samples["work"]} == {7.0}
    assert samples["power_watts"].iloc[0] == 300.0
    assert list(frames["frame"]) == [0, 1, 2]
    assert {dict(axes)["behaviour"] for axes in frames["axes"]} == {"good"}


def test_a_run_without_samples_still_gives_readable_tables(tmp_path: Path) -> None:
    samples, frames = (
        pd.read_parquet(path) for path in export(builders.write(builders.run([CELL]), [], tmp_path))
    )
    assert len(samples) == len(frames) == 0
    assert "seconds" in samples.columns


def test_files_of_a_cpu_and_of_a_gpu_run_are_one_table(tmp_path: Path) -> None:
    def exported(name: str, telemetry: dict[str, float | str], device_seconds: float | None) -> Path:
        record = builders.record(CELL, {"end_to_end": [1.0]})
        sample = record.samples[0].model_copy(
            update={"telemetry": telemetry, "device_seconds": device_seconds}
        )
        run = builders.run([CELL])
        parent = tmp_path / name
        parent.mkdir()
        return export(builders.write(run, [record.model_copy(update={"samples": (sample,)})], parent))[0]

    cpu = exported("cpu", {}, None)
    gpu = exported("gpu", {"power_watts": 300.0, "throttle_reasons": "SwPowerCap"}, 0.5)
    for files in ([cpu, gpu], [gpu, cpu]):
        table = pd.read_parquet(files)
        assert table["power_watts"].dropna().tolist() == [300.0]
        assert table["device_seconds"].dropna().tolist() == [0.5]


def test_instructions_are_a_column_of_whole_numbers(tmp_path: Path) -> None:
    record = builders.record(CELL, {"end_to_end": [1.0, 2.0]})
    first, second = record.samples
    many = 2**53 + 1  # a float would lose it
    samples = (first.model_copy(update={"instructions": many}), second)
    folder = builders.write(builders.run([CELL]), [record.model_copy(update={"samples": samples})], tmp_path)
    column = pq.read_table(export(folder)[0])["instructions"]
    assert column.to_pylist() == [many, None]


def test_whatever_a_gpu_tells_has_a_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_nvml, "nvmlDeviceGetTemperature", lambda handle, kind: 60)
    telemetry = NvmlMeter(fake_nvml, "handle").telemetry()
    assert {"power_watts", "temperature_celsius"} <= set(telemetry) <= set(TELEMETRY_COLUMNS)
