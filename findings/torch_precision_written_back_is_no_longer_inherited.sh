#!/usr/bin/env bash
# Writing back torch's precision of convolutions, as it was read, cuts it off from the global setting.
#
# Versions: torch 2.13.0. Python 3.11.
# Behaviour: torch.backends.cudnn.conv.fp32_precision reads "tf32" where nobody has set anything; that value is
# inherited, and setting torch.backends.fp32_precision = "ieee" changes it. After `conv.fp32_precision =
# conv.fp32_precision`, which looks like nothing, the value is its own: the same global setting no longer reaches
# convolutions. So code that saves the setting, changes it and restores what it read leaves another program behind:
# one in which a later "ieee" for everything leaves convolutions in TF32. From then on the older flag,
# torch.backends.cudnn.allow_tf32, raises when it is read. The state to restore is "none", which cannot be read.
# Output seen:
#   read at first: tf32
#   after a global ieee: ieee
#   after a global none: tf32
#   written back, after a global ieee: tf32
#   allow_tf32: RuntimeError
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/precision.py" <<'PYTHON'
from torch import backends

convolution = backends.cudnn.conv
print("read at first:", convolution.fp32_precision)
backends.fp32_precision = "ieee"
print("after a global ieee:", convolution.fp32_precision)
backends.fp32_precision = "none"
print("after a global none:", convolution.fp32_precision)
convolution.fp32_precision = convolution.fp32_precision
backends.fp32_precision = "ieee"
print("written back, after a global ieee:", convolution.fp32_precision)
try:
    print("allow_tf32:", backends.cudnn.allow_tf32)
except RuntimeError as error:
    print("allow_tf32:", type(error).__name__)
PYTHON

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy 2> /dev/null
"$folder/venv/bin/python" "$folder/precision.py" 2> /dev/null | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
read at first: tf32
after a global ieee: ieee
after a global none: tf32
written back, after a global ieee: tf32
allow_tf32: RuntimeError
SEEN
echo "as described"
