"""Models that choose patches."""
