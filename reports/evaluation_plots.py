"""Plots of the published evaluation: gazes by frame, quality by frame, and what more patches give."""

from collections.abc import Callable, Sequence
from itertools import zip_longest
from statistics import fmean

from bench.records import FrameQuality
from reports.charts import Figure, MissingDataError, Panel, Series, curves, heat_map
from reports.evaluation import SettingResult, by_setting
from reports.naming import setting_kind
from reports.results import MEANINGLESS, CellResult
from reports.units import Value

_ALONG_FRAMES: dict[str, tuple[str, str]] = {
    "psnr": ("PSNR", "dB"),
    "ssim": ("SSIM", "1 = equal"),
    "loss": ("Reconstruction loss", "loss"),
    "gazes": ("Gazes", "gazes per frame"),
}
_AGAINST_PATCHES: dict[str, tuple[str, str, Callable[[CellResult], Value]]] = {
    "psnr": ("PSNR", "dB", lambda result: result.quality("psnr")),
    "ssim": ("SSIM", "1 = equal", lambda result: result.quality("ssim")),
    "loss": ("Reconstruction loss", "loss", lambda result: result.quality("loss")),
    "mae": ("Pixel MAE", "MAE", lambda result: result.quality("mae")),
    "gaze": ("Gaze time", "s per clip", lambda result: result.median("gaze")),
    "reconstruct": ("Reconstruction time", "s per clip", lambda result: result.median("reconstruct")),
}


def gaze_heat_map(results: Sequence[CellResult]) -> Figure:
    """Draw how many gazes each frame got, a row for each setting, means over clips."""
    settings = _measured(results)
    counts = [_along(setting, "gazes") for setting in settings]
    title = _titled("Gazes in each frame, mean over clips", results)
    return heat_map([setting.name for setting in settings], counts, title)


def per_frame_curves(results: Sequence[CellResult]) -> Figure:
    """Draw quality and gazes over the frames of a clip, a curve for each setting, means over clips."""
    settings = _measured(results)
    panels = []
    for figure, (title, unit) in _ALONG_FRAMES.items():
        lines = {setting.name: _along(setting, figure) for setting in settings}
        panels.append(Panel(title, unit, [Series(name, range(len(y)), y) for name, y in lines.items()]))
    return curves(panels, _titled("Quality by frame, mean over clips", results), "frame of the clip")


def tradeoff_curves(results: Sequence[CellResult]) -> Figure:
    """Draw quality and time over the share of patches gazed at, a curve for each kind of setting."""
    settings = _measured(results)
    panels = [Panel(title, unit, _lines(settings, of)) for title, unit, of in _AGAINST_PATCHES.values()]
    title = _titled("Quality and time against gazed patches, means over clips", results)
    return curves(panels, title, "patches gazed at, %")


def _measured(results: Sequence[CellResult]) -> list[SettingResult]:
    settings = by_setting([result for result in results if result.ok])
    if not settings:
        raise MissingDataError("no clip was evaluated")
    return settings


def _titled(title: str, results: Sequence[CellResult]) -> str:
    return title + (MEANINGLESS if any(result.untrained for result in results) else "")


def _along(setting: SettingResult, figure: str) -> list[float]:
    """Return a figure of each frame, the mean over clips."""

    def value(frame: FrameQuality) -> float:
        found = getattr(frame, figure)
        return float("nan") if found is None else float(found)

    clips = [[value(frame) for frame in result.frames] for result in setting.results]
    return [fmean(each for each in frame if each is not None) for frame in zip_longest(*clips)]


def _lines(settings: Sequence[SettingResult], of: Callable[[CellResult], Value]) -> list[Series]:
    """Return a line for each way to limit patches, and for each of what else the settings differ in."""
    found: dict[str, list[tuple[float, float]]] = {}
    for setting in settings:
        kept, value = setting.mean(lambda result: result.kept_ratio), setting.mean(of)
        if isinstance(kept, int | float) and isinstance(value, int | float):
            apart = setting.name.replace(setting.setting, "").strip(", ")
            kind = ", ".join(filter(None, (apart, setting_kind(setting.setting))))
            found.setdefault(kind, []).append((100 * kept, value))
    return [
        Series(kind, *map(list, zip(*sorted(points))))  # type: ignore[arg-type]
        for kind, points in sorted(found.items())
    ]
