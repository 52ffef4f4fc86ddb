"""Style of every plot: sizes, colours, and the backend that needs no screen.

The colours are those of Okabe and Ito, told apart by readers with any colour vision; series also differ in
their markers, stages in their place.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7A5195", "#8C8C00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
PUBLISHED = "#777777"
"""The colour of everything that was measured elsewhere."""
STAGE_COLOURS = {
    "decode": "#BBBBBB",
    "preprocess": "#8A8A8A",
    "gaze.vision": "#9FCBE8",
    "gaze.prefill": "#4A9BD1",
    "gaze.steps": "#0B4F82",
    "gaze": "#0072B2",
    "reconstruct.encode": "#F5CF80",
    "reconstruct.decode": "#E69F00",
    "reconstruct.loss": "#9C6B00",
    "reconstruct": "#EFB740",
    "encode.embed": "#8FD3BC",
    "encode.layers": "#009E73",
    "encode.pool": "#00614A",
    "encode": "#4DBB9B",
    "hand_over": "#C8A2C8",
    "other": "#DDDDDD",
}
HEAT = "cividis"

_SETTINGS = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw the enclosed figures in this style and close them afterwards; other figures keep theirs."""
    with plt.rc_context(_SETTINGS):
        open_before = set(plt.get_fignums())
        try:
            yield
        finally:
            for number in set(plt.get_fignums()) - open_before:
                plt.close(number)
