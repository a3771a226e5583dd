"""File names, and where the commands leave things; no heavy imports, so that `--help` is quick."""

from __future__ import annotations

from pathlib import Path

METADATA_FILE = "metadata.json"
REFERENCE_FILE = "pytorch_reference.json"
PARITY_FILE = "parity.json"
PARITY_PAGE = "parity.html"
BENCHMARK_FILE = "benchmark.json"
BENCHMARK_PICTURE = "benchmark.png"
BENCHMARK_PAGE = "benchmark.html"
MANIFEST_FILE = "manifest.json"
DEFAULT_BUNDLE = Path("build/forced-aligner")
DEFAULT_REFERENCE = Path("build") / REFERENCE_FILE
DEFAULT_SWEEP = Path("build/sweep")
DEFAULT_DEMO = Path("build/demo")
ROOT = Path(__file__).resolve().parents[2]
DEMO_FOLDER = ROOT / "demo"
