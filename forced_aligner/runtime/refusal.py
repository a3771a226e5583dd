"""Core ML's refusals, as one sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from forced_aligner.base.errors import UserError
from forced_aligner.base.text import visible
from forced_aligner.package.metadata import BundleMetadata

NEEDED_MACOS = {"iOS17": 14, "iOS18": 15}


@contextmanager
def explained(
    verb: Literal["compile", "load", "run"], package: str, metadata: BundleMetadata, computes_on: str = ""
) -> Iterator[None]:
    """Within the block, a refusal by Core ML becomes a sentence with its reason and what to try.

    Args:
        verb: what Core ML was to do.
        package: the name of the package.
        metadata: of its folder.
        computes_on: the compute units, where they matter.

    Raises:
        UserError: Core ML refuses.
    """
    try:
        yield
    except RuntimeError as error:  # the type of all that Core ML's errors become in coremltools' C++ layer
        target, place = metadata.deployment_target, f" on {computes_on}" if computes_on else ""
        remedies = {
            "compile": f"packages for {target} need macOS {NEEDED_MACOS[target]} or newer; convert with another "
            "--deployment-target, or use --backend mil",
            "load": f"packages for {target} need macOS {NEEDED_MACOS[target]} or newer; try other --compute-units, or "
            "--no-cache, or --backend mil",
            "run": "try other --compute-units, or --backend mil",
        }
        raise UserError(f"Core ML cannot {verb} {package}{place} ({reason(error)}): {remedies[verb]}") from error


def reason(error: RuntimeError) -> str:
    """Core ML's own words: coremltools hands them over inside a printed dictionary of several lines."""
    described = re.search(r'NSLocalizedDescription = "?(.+?)"?;\n', str(error), re.DOTALL)
    return visible(" ".join((described[1] if described else str(error)).split())) or "no reason given"
