"""Tasks that see a video only through the patches that were chosen."""
