"""Turns: two trees of this project measured side by side, repetition by repetition, for a verdict that holds
on a machine that does other things too."""
