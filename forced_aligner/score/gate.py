"""The parity gate: how close the packages must come to PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forced_aligner.base.errors import UserError
from forced_aligner.package.metadata import BundleMetadata

if TYPE_CHECKING:
    from forced_aligner.score.records import Reference, Scores


@dataclass(frozen=True)
class Gate:
    """Thresholds that a conversion must meet to pass.

    Attributes:
        max_aas_ms: largest mean boundary error.
        min_within_20ms_percent: smallest share of boundaries within 20 ms.
    """

    max_aas_ms: float = 5.0
    min_within_20ms_percent: float = 95.0

    def __post_init__(self) -> None:
        """Refuse thresholds that mean nothing.

        Raises:
            UserError: one is not finite.
        """
        if not math.isfinite(self.max_aas_ms) or not math.isfinite(self.min_within_20ms_percent):
            raise UserError("--max-aas and --min-within-20ms take finite numbers, in ms and in percent")

    def passes(self, scores: Scores) -> bool:
        """Whether both thresholds are met."""
        return scores.aas_ms <= self.max_aas_ms and scores.within_20ms_percent >= self.min_within_20ms_percent


def check_same_checkpoint(metadata: BundleMetadata, reference: Reference) -> None:
    """Refuse a reference that was not made from the checkpoint of the packages.

    Raises:
        UserError: the fingerprints differ.
    """
    if metadata.checkpoint_fingerprint != reference.checkpoint_fingerprint:
        raise UserError(
            f"the packages were converted from {metadata.model_id} "
            f"({metadata.checkpoint_fingerprint[:12]}), but the reference was made with {reference.model_id} "
            f"({reference.checkpoint_fingerprint[:12]}): run compare-models.py with the checkpoint of the packages"
        )
