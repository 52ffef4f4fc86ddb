#!/usr/bin/env bash
# Two configurations of one class compare equal although their own settings differ.
#
# Versions: transformers 5.24.0; 4.51.3 for comparison. Python 3.11.
# Behaviour: since transformers 5 PretrainedConfig is a dataclass, and a subclass that defines __init__ the old way
# inherits an __eq__ that looks at the fields of the base class alone. What the subclass adds, say a width, does not
# count: C(width=1) == C(width=2). Under 4.51.3 the same two differ. Who compares configurations, to reuse a model or
# to check a round trip through a folder, is told that nothing has changed.
# Output seen:
#   transformers 4.51.3: equal: False, to_dict equal: False
#   transformers 5.24.0: equal: True, to_dict equal: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/compare.py" <<'PYTHON'
import transformers
from transformers import PretrainedConfig


class Narrow(PretrainedConfig):
    model_type = "narrow"

    def __init__(self, width=1, **settings):
        super().__init__(**settings)
        self.width = width


one, two = Narrow(width=1), Narrow(width=2)
print(f"transformers {transformers.__version__}: equal: {one == two}, to_dict equal: {one.to_dict() == two.to_dict()}")
PYTHON

for version in 4.51.3 5.24.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check "transformers==$version" 2> /dev/null
  "$folder/$version/bin/python" "$folder/compare.py" 2> /dev/null
done | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
transformers 4.51.3: equal: False, to_dict equal: False
transformers 5.24.0: equal: True, to_dict equal: False
SEEN
echo "as described"
