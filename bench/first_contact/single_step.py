"""One plain decode step for a tool that watches a process: hardware counters, the memory checker.

``python -m bench.first_contact.single_step --device cuda:0 --form triton``: a step that compiles, then one
between the marks that ``ncu --profile-from-start off`` heeds.
"""

import argparse
import sys
from collections.abc import Sequence

import torch

from bench.first_contact.decode import DTYPES, OPERATION, forms, inputs


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.first_contact.single_step", description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--form", help="triton, triton_ieee ...; the first that there is if not given")
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--cached", type=int, default=3200)
    given = parser.parse_args(arguments)
    known = forms(given.device)
    call = known[given.form or next(iter(known))]
    like = inputs(given.device, given.dtype, given.batch, given.cached)
    is_cuda = given.device.startswith("cuda")
    with torch.inference_mode():
        call(**OPERATION.again(like))
        again = OPERATION.again(like)
        if is_cuda:
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaProfilerStart()
        made = call(**again)
        if is_cuda:
            torch.cuda.synchronize()
            torch.cuda.cudart().cudaProfilerStop()
    print(f"{given.form or next(iter(known))}: {tuple(made.shape)}, sum {float(made.sum()):.6g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
