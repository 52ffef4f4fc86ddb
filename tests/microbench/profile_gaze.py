"""Where does choosing patches spend its time? ``python -m tests.microbench.profile_gaze [RATIO]``

Prints torch's profile of one call of the full-size gaze model on 16 frames, and the share of attention,
matrix products and convolution, which is the work that must be done. The profiler's own cost counts against
the small operations.
"""

import sys

import torch
from torch.profiler import ProfilerActivity, profile

from tests.reference.cases import gaze_model
from tests.reference.fill import clip

NECESSARY = ("scaled_dot_product", "aten::mm", "aten::addmm", "aten::bmm", "convolution")


def main(ratio: float) -> None:
    model, video = gaze_model("full", 14), {"video": clip(29, 1, 16)}
    with torch.inference_mode():
        for _ in range(2):
            model(video, gazing_ratio=ratio)
        with profile(activities=[ProfilerActivity.CPU]) as found:
            model(video, gazing_ratio=ratio)
    events = found.key_averages()
    total = sum(event.self_cpu_time_total for event in events)
    necessary = sum(
        event.self_cpu_time_total for event in events if any(name in event.key for name in NECESSARY)
    )
    print(events.table(sort_by="self_cpu_time_total", row_limit=10, max_name_column_width=46))
    print(f"attention, matrix products and convolution: {necessary / total:.1%} of {total / 1e6:.3f} s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 0.25)
