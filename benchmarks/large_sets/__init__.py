"""The parts of `benchmarks/large_set.py`."""
