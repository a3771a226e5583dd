"""Scores of the alignments of wrong transcripts; see `benchmarks/wrong_transcripts.py`."""
