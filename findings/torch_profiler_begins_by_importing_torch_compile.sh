#!/usr/bin/env bash
# torch.profiler.profile imports all of torch.compile when it begins; torch.autograd.profiler.profile does not.
#
# Versions: torch 2.13.0. Python 3.11.
# Behaviour: starting torch.profiler.profile asks `hasattr(torch, "_inductor")`, which torch's lazy loading answers by
# importing it, and with it torch._dynamo and sympy: hundreds of modules, and about a second of a core, before the
# first event is recorded. It happens once a process, so it hides in long ones; where each measurement has a process
# of its own it is paid every time, and a profile's first repetition is not the program's. The older
# torch.autograd.profiler.profile drives the same kineto profiler, records the same operators, and imports none of
# these.
# Output seen:
#   autograd.profiler: imports torch._inductor False, more than 500 modules False, saw aten::softmax True
#   profiler: imports torch._inductor True, more than 500 modules True, saw aten::softmax True
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/begin.py" <<'PYTHON'
import sys

import torch
import torch.autograd.profiler
import torch.profiler

for name in ("autograd.profiler", "profiler"):
    before = len(sys.modules)
    profiler = torch.autograd.profiler if name.startswith("autograd") else torch.profiler
    with profiler.profile() as trace:
        torch.ones(2).softmax(0)
    events = trace.function_events if name.startswith("autograd") else trace.events()
    print(
        f"{name}: imports torch._inductor {'torch._inductor' in sys.modules}, "
        f"more than 500 modules {len(sys.modules) - before > 500}, "
        f"saw aten::softmax {'aten::softmax' in {event.name for event in events}}"
    )
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy 2> /dev/null
"$folder/venv/bin/python" "$folder/begin.py" 2> /dev/null | grep -v USDT | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
autograd.profiler: imports torch._inductor False, more than 500 modules False, saw aten::softmax True
profiler: imports torch._inductor True, more than 500 modules True, saw aten::softmax True
SEEN
echo "as described"
