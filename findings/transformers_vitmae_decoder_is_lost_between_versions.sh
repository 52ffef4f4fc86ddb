#!/usr/bin/env bash
# A ViT-MAE that transformers 5 saved loses its decoder when transformers 4 loads it, and nothing is raised.
#
# Versions: transformers 5.24.0 and 4.51.3, torch 2.13.0. Python 3.11.
# Behaviour: version 5 keeps the layers of the decoder as decoder.decoder_encoder.layer.N and saves them under that
# name; it still reads the older name, decoder.decoder_layers.N, so a folder of version 4 loads there in full. The
# reverse fails quietly: version 4.51.3 finds no decoder layers, draws them at random and goes on with a warning.
# The encoder is right, so features look fine; only reconstructions are noise.
# Output seen:
#   saved by 4.51.3, loaded by 5.24.0: 0 weights missing, decoder the same: True
#   saved by 5.24.0, loaded by 4.51.3: 16 weights missing, decoder the same: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/save.py" <<'PYTHON'
import sys

import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
config = ViTMAEConfig(image_size=32, **sizes, **{f"decoder_{name}": value for name, value in sizes.items()})
model = ViTMAEForPreTraining(config)
with torch.no_grad():
    for weight in model.parameters():
        weight.fill_(0.5)
model.save_pretrained(sys.argv[1])
PYTHON
cat > "$folder/load.py" <<'PYTHON'
import sys

import transformers
from transformers import ViTMAEForPreTraining

model, found = ViTMAEForPreTraining.from_pretrained(sys.argv[1], output_loading_info=True)
same = all(bool((weight == 0.5).all()) for weight in model.decoder.parameters() if weight.requires_grad)
print(
    f"saved by {sys.argv[2]}, loaded by {transformers.__version__}: {len(found['missing_keys'])} weights missing, "
    f"decoder the same: {same}"
)
PYTHON

for version in 4.51.3 5.24.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy \
    "transformers==$version" "accelerate>=1.6" 2> /dev/null
  "$folder/$version/bin/python" "$folder/save.py" "$folder/saved-$version" 2> /dev/null
done
{
  "$folder/5.24.0/bin/python" "$folder/load.py" "$folder/saved-4.51.3" 4.51.3
  "$folder/4.51.3/bin/python" "$folder/load.py" "$folder/saved-5.24.0" 5.24.0
} 2> /dev/null | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
saved by 4.51.3, loaded by 5.24.0: 0 weights missing, decoder the same: True
saved by 5.24.0, loaded by 4.51.3: 16 weights missing, decoder the same: False
SEEN
echo "as described"
