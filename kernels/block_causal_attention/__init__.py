"""Packed attention in which every query sees one interval of keys, which covers every mask over frames."""
