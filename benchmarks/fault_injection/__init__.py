"""Seeded faults, how they are run, and what comes of them; see `benchmarks/faults.py`."""
