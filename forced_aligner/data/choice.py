"""Which recordings are taken where not all are wanted: a draw that anybody can repeat, spread over the speakers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Protocol, TypeVar

from forced_aligner.base.console import log

SEED = 0


class Spoken(Protocol):
    """A recording whose speaker may be known."""

    @property
    def speaker(self) -> str | None: ...


SpokenT = TypeVar("SpokenT", bound=Spoken)


def choose(clips: Sequence[SpokenT], count: int | None) -> list[SpokenT]:
    """At most `count` of `clips`, in their order; all where `count` is None.

    The speakers, and the clips of each, are shuffled with a fixed seed. Then one clip of each speaker is taken in turn.
    Clips without a speaker are a speaker of their own.
    """
    if count is None or count >= len(clips):
        return list(clips)
    draw = random.Random(SEED)
    by_speaker: dict[str | None, list[int]] = {}
    for index, clip in enumerate(clips):
        by_speaker.setdefault(clip.speaker, []).append(index)
    queues = list(by_speaker.values())
    draw.shuffle(queues)
    for queue in queues:
        draw.shuffle(queue)
    turns = (index for index in chain.from_iterable(zip_longest(*queues)) if index is not None)
    return [clips[index] for index in sorted(index for index, _ in zip(turns, range(count), strict=False))]


def announce_choice(chosen: Sequence[Spoken], clips: Sequence[Spoken]) -> str:
    """How `chosen` was taken from `clips`, as `3 of 2620 recordings, a seeded draw over 3 of 40 speakers`.

    A draw is said on stderr, too.
    """
    if len(chosen) == len(clips):
        return f"all {len(clips)} recordings"
    speakers, taken = ({clip.speaker for clip in some if clip.speaker is not None} for some in (clips, chosen))
    over = f" over {len(taken)} of {len(speakers)} speakers" if speakers else ""
    note = f"{len(chosen)} of {len(clips)} recordings, a seeded draw{over}"
    log(note)
    return note
