"""The description inside a package: author, license, version, and texts for its inputs and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forced_aligner.package.metadata import BundleMetadata, Precision

if TYPE_CHECKING:
    from forced_aligner.package.proto import Model_pb2
    from individual_components import Component


from forced_aligner.base.version import version_string
from forced_aligner.package.provenance import find_provenance


def describe(spec: Model_pb2.Model, component: Component, precision: Precision, metadata: BundleMetadata) -> None:
    """Write the description of `component` into its `spec`."""
    texts = {tensor.name: tensor.description for tensor in (*component.inputs, *component.outputs)}
    for function in spec.description.functions or [spec.description]:
        for feature in (*function.input, *function.output):
            feature.shortDescription = texts[feature.name]
    origin, text = find_provenance(metadata.model_id, None), spec.description.metadata
    text.author, text.license, text.versionString = origin.author, origin.license_name, version_string()
    text.shortDescription = component.description
    text.userDefined.update(
        {
            "source_checkpoint": metadata.model_id,
            "checkpoint_fingerprint": metadata.checkpoint_fingerprint,
            "precision": precision,
            **{f"{name}_version": number for name, number in metadata.tool_versions.items()},
        }
    )
