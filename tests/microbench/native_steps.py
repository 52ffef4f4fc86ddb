"""How much faster are native steps than eager ones? ``python -m tests.microbench.native_steps [RATIO ...]``

Both engines choose patches of the same 16 frames with the full-size model, call after call in turns, and
take turns in going first. With one thread (``OMP_NUM_THREADS=1``) what is compared is the thread's own
processor time, which other work on the machine disturbs little; with more it is the wall clock. Patches must
be the same.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch

from tests.reference.cases import gaze_model
from tests.reference.fill import clip

ENGINES = ("native", "eager")
ROUNDS = 7


def main(ratios: list[float]) -> None:
    threads = torch.get_num_threads()
    clock: Callable[[], float] = time.thread_time if threads == 1 else time.perf_counter
    model, video = gaze_model("full", 14), {"video": clip(29, 1, 16)}
    print(f"{threads} threads, 16 frames, {ROUNDS} rounds in turns, {clock.__name__}, medians")
    for ratio in ratios:
        seconds: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for turn in range(ROUNDS + 1):
            patches = set()
            for engine in ENGINES[:: 1 - 2 * (turn % 2)]:
                started = clock()
                with torch.inference_mode():
                    output = model(video, gazing_ratio=ratio, engine=engine)
                seconds[engine].append(clock() - started)
                patches.add(output.patch_hash())
            assert len(patches) == 1, "the engines chose different patches"
        native, eager = (seconds[engine][1:] for engine in ENGINES)  # the first round warms up
        pairs = [b / a for a, b in zip(native, eager, strict=True)]
        print(
            f"ratio {ratio:.2f}: native {statistics.median(native):.3f} s, eager "
            f"{statistics.median(eager):.3f} s, eager / native {statistics.median(pairs):.2f} "
            f"({min(pairs):.2f} to {max(pairs):.2f}), of the fastest {min(eager) / min(native):.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main([float(argument) for argument in sys.argv[1:]] or [0.10, 0.25, 0.75])
