"""What a user may ask of the runtime; no heavy imports, so that `--help` is quick."""

from typing import Literal

BackendName = Literal["auto", "coreml", "mil"]
DeviceName = Literal["cpu", "cuda"]
