"""Operations, one a folder: a definition in plain torch, a fast form in Triton, and what both are held to.

To add one, make its folder and give it a line in :data:`OPERATION_NAMES`.
"""

OPERATION_NAMES = (
    "block_causal_attention",
    "decode_step",
    "prefill",
)
"""Folders of this package that hold an operation. Names alone: who plans a run must not load torch."""
