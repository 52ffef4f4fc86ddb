from pathlib import Path

import pandas as pd

from bench.parquet import export
from bench.records import FrameQuality
from tests.bench import builders

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
    assert set(samples["work_decode_steps"]) == {7.0}
    assert samples["power_watts"].iloc[0] == 300.0
    assert list(frames["frame"]) == [0, 1, 2]
    assert set(frames["axis_behaviour"]) == {"good"}


def test_a_run_without_samples_still_gives_readable_tables(tmp_path: Path) -> None:
    samples, frames = (
        pd.read_parquet(path) for path in export(builders.write(builders.run([CELL]), [], tmp_path))
    )
    assert len(samples) == len(frames) == 0
    assert "seconds" in samples.columns
