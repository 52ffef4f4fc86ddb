"""Meters: clocks, CPU load, memory and power."""
