"""The roofline plot: how far each cell is from what its device was measured to do at best."""

from collections.abc import Sequence

from reports.charts import Figure, MissingDataError, Panel, Roof, Series, rooflines
from reports.naming import cell_label, several_runs
from reports.results import CellResult, device_name
from reports.summaries import View, groups


def roofline(results: Sequence[CellResult]) -> Figure:
    """Draw FLOP/s over FLOP/byte, a panel for each group of cells and device whose ceilings are known.

    Ceilings are measured by some workloads only; they hold for all cells of the same device and precision.
    """
    panels = []
    for group in groups(results):
        devices = dict.fromkeys(device_name(result.run) for result in group.results)
        for device in devices:
            members = [result for result in group.results if device_name(result.run) == device]
            title = f"{group.title}, by {group.view.points}" + (
                f", {device}" if several_runs(results) else ""
            )
            roofs = _roofs(members, [result for result in results if device_name(result.run) == device])
            series = _points(members, group.view)
            if roofs and series:
                panels.append(Panel(title, "FLOP/s", series, roofs))
    if not panels:
        raise MissingDataError(
            "no cell measured what its device can do at best; the suites kernels and engines do"
        )
    return rooflines(panels, "Roofline")


def _roofs(members: Sequence[CellResult], alike: Sequence[CellResult]) -> list[Roof]:
    """Return the highest ceilings that were measured on a device in each precision of some cells."""
    roofs = []
    for dtype in dict.fromkeys(result.axis("dtype") for result in members):
        bandwidth, arithmetic = (
            max(
                (
                    result.figure(f"ceiling.{work}_per_second") or 0.0
                    for result in alike
                    if result.axis("dtype") == dtype
                ),
                default=0.0,
            )
            for work in ("bytes", "flops")
        )
        if bandwidth and arithmetic:
            roofs.append(Roof(f"measured at best, {dtype}", bandwidth, arithmetic))
    return roofs


def _points(members: Sequence[CellResult], view: View) -> list[Series]:
    """Return a series for all cells that differ only in the axis of the view that names points."""
    found: dict[str, list[tuple[float, float, str]]] = {}
    for result in members:
        speed, traffic = result.rate("flops"), result.rate("bytes")
        if speed and traffic:
            rest = cell_label(result, members, view.points, view.rivals).replace(result.cell.workload, "")
            name = ", ".join(part for part in (str(result.axis(view.rivals)), rest) if part)
            point = (speed / traffic, speed, str(result.axis(view.points)))
            found.setdefault(name, []).append(point)
    return [
        Series(name, [x for x, _, _ in points], [y for _, y, _ in points], names=[of for *_, of in points])
        for name, points in found.items()
    ]
