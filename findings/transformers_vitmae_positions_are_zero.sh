#!/usr/bin/env bash
# A new ViTMAEForPreTraining has no positions: both tables of sines and cosines are all zeros.
#
# Versions: transformers 5.24.0 and 4.51.3, torch 2.13.0. Python 3.11.
# Behaviour: the position tables of ViT-MAE are fixed, not learned: they require no gradient, so training never
# repairs them, and loading a checkpoint that has them hides it. A model built from a configuration in 4.51.3 has the
# sines of the encoder; in 5.24.0 both tables stay zero, so a ViT-MAE trained from the start there cannot tell one
# place from another. Nothing is raised and the loss still falls. Its decoder's table is zero under 4.51.3 too.
# Output seen:
#   transformers 4.51.3: encoder has positions: True, decoder has positions: False
#   transformers 5.24.0: encoder has positions: False, decoder has positions: False
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/positions.py" <<'PYTHON'
import transformers
from transformers import ViTMAEConfig, ViTMAEForPreTraining

sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
model = ViTMAEForPreTraining(
    ViTMAEConfig(image_size=64, **sizes, **{f"decoder_{name}": value for name, value in sizes.items()})
)
encoder, decoder = model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed
assert not encoder.requires_grad and not decoder.requires_grad
print(
    f"transformers {transformers.__version__}: encoder has positions: {bool(encoder.any())}, "
    f"decoder has positions: {bool(decoder.any())}"
)
PYTHON

for version in 4.51.3 5.24.0; do
  python3 -m venv "$folder/$version"
  "$folder/$version/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy \
    "transformers==$version" 2> /dev/null
  "$folder/$version/bin/python" "$folder/positions.py" 2> /dev/null
done | tee "$folder/seen"

diff "$folder/seen" - <<'SEEN'
transformers 4.51.3: encoder has positions: True, decoder has positions: False
transformers 5.24.0: encoder has positions: False, decoder has positions: False
SEEN
echo "as described"
