"""Gazes: the patch grid, the output of every selector, its packed form, and gazed patches embedded."""
