"""What `--compress` says: a preset for each component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from forced_aligner.base.errors import UserError
from forced_aligner.package.contract import TOKEN_TABLE
from forced_aligner.package.metadata import Compression

TABLE_PRESETS = ("none", "int8")  # a row of another one would not be made of whole bytes
UNCOMPRESSED = ("lm_head",)  # unless named in --compress: it is small, and its rows decide between neighbouring bins


def parse_compress(text: str, components: Sequence[str]) -> dict[str, Compression]:
    """The preset of each component from `--compress`.

    Args:
        text: a preset for all components, `component=preset` for some, or both: `int8,decoder_prefill=int4`.
        components: the keys of the components that are converted.

    Raises:
        UserError: an unknown preset or component, two presets for one, or one that a token table cannot have.
    """
    presets: dict[str, Compression] = {preset: preset for preset in get_args(Compression)}
    named: dict[str, Compression] = {}
    common: list[Compression] = []
    for part in (part.strip() for part in text.split(",")):
        key, equals, preset = part.rpartition("=")
        if preset not in presets:
            raise UserError(f"--compress takes {', '.join(presets)}, or component=preset, not {part[:80]!r}")
        if equals and key not in components:
            raise UserError(
                f"--compress names {key[:80]!r}, which is not converted; expected some of {', '.join(components)}"
            )
        if key in named or (not equals and common):
            raise UserError(f"--compress gives {key or 'all components'} two presets ({text[:80]}): give one")
        if equals:
            named[key] = presets[preset]
        else:
            common.append(presets[preset])
    if named.get(TOKEN_TABLE, "none") not in TABLE_PRESETS:
        raise UserError(f"--compress gives {TOKEN_TABLE} {named[TOKEN_TABLE]}, but it takes none or int8 alone")
    default = common[0] if common else "none"
    return {key: named.get(key, _default_preset(key, default)) for key in components}


def _default_preset(component: str, preset: Compression) -> Compression:
    """The preset of a component that `--compress` does not name, if it gives `preset` to all."""
    if component in UNCOMPRESSED:
        return "none"
    return "int8" if component == TOKEN_TABLE and preset not in TABLE_PRESETS else preset
