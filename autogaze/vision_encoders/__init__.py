"""Vision encoders that see gazed patches only."""
