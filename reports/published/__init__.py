"""Figures that others measured and published, to be printed beside ours; never mixed with them.

``h100/`` holds the released evaluator's own output on four clips; ``rtx3090.csv`` holds the sweeps over
requirement, ratio cap and chunk size. Both are of the released weights.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

H100 = "published elsewhere: H100 80 GB, torch 2.7.1, flash-attn 2.8.3, released weights, example_input.mp4"
RTX_3090 = "published elsewhere: RTX 3090, Bench2Drive front camera or a dashcam, released weights"
RTX_3090_CAVEAT = (
    "The ratio-cap and chunk-size sweeps do not state their requirement; 0.3 is assumed, since the row of "
    "cap 0.75 repeats that of requirement 0.3."
)
H100_CHUNK = 16
"""Frames in a clip of the released evaluator."""


@dataclass(frozen=True)
class PublishedFigure:
    """One published row. Times are in seconds a frame; what the source does not give is None."""

    source: str
    video: str
    sweep: str
    """Which published table: ``settings``, ``requirement``, ``ratio cap`` or ``chunk size``."""
    value: str
    """The row's value of the sweep."""
    settings: tuple[str, ...]
    """Our names of the setting that was measured."""
    chunk: int
    kept: str | None
    """Percentage of patches kept, as printed."""
    gaze: float
    reconstruct: float | None
    psnr: float | None = None
    ssim: float | None = None
    lpips: float | None = None
    kept_ratio: float | None = None

    @property
    def name(self) -> str:
        """Short enough for a table; the source's full description stands beneath it."""
        return "H100" if self.source == H100 else f"RTX 3090, {self.video}, {self.sweep} {self.value}"


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__name__).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _h100() -> list[PublishedFigure]:
    return [
        PublishedFigure(
            source=H100,
            video="example_input.mp4",
            sweep="settings",
            value=row["setting"],
            settings=(row["setting"],),
            chunk=H100_CHUNK,
            kept=f"{100 * float(row['actual_gaze_ratio']):.1f}",
            gaze=float(row["gaze_seconds"]) / H100_CHUNK,
            reconstruct=float(row["reconstruction_seconds"]) / H100_CHUNK,
            psnr=float(row["psnr"]),
            ssim=float(row["ssim"]),
            kept_ratio=float(row["actual_gaze_ratio"]),
        )
        for row in _rows("h100/summary_by_setting.csv")
    ]


def _rtx_3090() -> list[PublishedFigure]:
    return [
        PublishedFigure(
            source=RTX_3090,
            video=row["video"],
            sweep=row["sweep"],
            value=row["value"],
            settings=tuple(row["settings"].split(";")),
            chunk=int(row["chunk"]),
            kept=row["kept"] or None,
            gaze=float(row["gaze_ms_per_frame"]) / 1e3,
            reconstruct=float(row["reconstruct_ms_per_frame"]) / 1e3
            if row["reconstruct_ms_per_frame"]
            else None,
            lpips=float(row["lpips"]),
        )
        for row in _rows("rtx3090.csv")
    ]


@cache
def published_figures() -> tuple[PublishedFigure, ...]:
    """Return every published row, in the order of its source."""
    return (*_h100(), *_rtx_3090())


def matching(setting: object, chunk: object) -> list[PublishedFigure]:
    """Return the published rows that were measured at this setting and chunk size."""
    return [row for row in published_figures() if setting in row.settings and chunk == row.chunk]
