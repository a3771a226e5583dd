"""What a result was measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")  # Linux


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def system_name() -> str:
    """The operating system and its version, such as `macOS 15.1` or `Linux 6.1`."""
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    version = re.match(r"\d+(\.\d+)?", platform.release())
    return f"{platform.system()} {version[0] if version else ''}".strip()


def chip_name() -> str:
    """The processor, such as `Apple M2`; its architecture where the system does not name it."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    if CPU_INFO.is_file():
        models = re.findall(r"^model name\s*: (.+)$", CPU_INFO.read_text(encoding="utf-8"), re.MULTILINE)
        if models:
            return str(models[0])
    return platform.machine()
