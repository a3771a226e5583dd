"""The names of backends and devices on the command line; no heavy imports, so that `--help` is quick."""

from typing import Literal

BackendName = Literal["auto", "coreml", "mil"]
DeviceName = Literal["cpu", "cuda"]
