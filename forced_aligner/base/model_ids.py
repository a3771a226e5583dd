"""The names of the checkpoints."""

from __future__ import annotations

LEGACY_MODEL_ID = "Qwen/Qwen3-ForcedAligner-0.6B"
FULL_MODEL_ID = f"{LEGACY_MODEL_ID}-hf"
DEMO_MODEL_ID = "demo"
