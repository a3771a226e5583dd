"""Where unspoken words begin and end: the choice that explains the audio around them best.

At the edge of unspoken words, some of them are heard in the audio of spoken ones, which are then missing.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from forced_aligner.align.findings import HOLE, Findings, trust
from forced_aligner.align.walk import Walk

LEFT, RIGHT = 6, 9  # words on each side that are asked for
DROPPED, ADDED = 3, 5  # of those on the left may be unspoken, or further ones spoken
EARLIER, LATER = 6, 4  # words by which the spoken ones may begin elsewhere
APART_S = 2.0  # further apart the audio on both sides is not one stretch
LEAST_TRUST = 0.3  # in a word that is worth asking for
CONTEXT_BINS = 3


def mend_seams(walk: Walk) -> None:
    """Choose anew which words beside each long hole are spoken."""
    hear, seconds = walk.listener.hear, walk.listener.seconds
    for before, after in list(pairwise(np.flatnonzero(walk.found).tolist())):
        if after - before <= HOLE or seconds(int(walk.bins[after, 0] - walk.bins[before, 1])) > APART_S:
            continue
        left = [index for index in range(max(0, before + 1 - LEFT), before + 1) if walk.found[index]]
        right = [index for index in range(after, min(walk.count, after + RIGHT)) if walk.found[index]]
        if not left or not right:
            continue
        start = max(0, int(walk.bins[left[0], 0]) - CONTEXT_BINS)
        end = int(walk.bins[right[-1], 1]) + CONTEXT_BINS
        choices: list[tuple[float, int, list[int], Findings]] = []
        ends = [left[: len(left) - dropped] for dropped in range(min(DROPPED, len(left) - 1), 0, -1)]
        ends += [left + list(range(before + 1, before + 1 + added)) for added in range(ADDED)]
        for kept in ends:
            for shift in range(-EARLIER, LATER):
                first = after + shift
                if kept[-1] < first <= right[-1]:
                    words = kept + list(range(first, right[-1] + 1))
                    heard = hear(start, end, words)
                    worth = np.where(heard.found, trust(heard.confidences), 0.0) - LEAST_TRUST
                    choices.append((float(worth.sum()), -abs(shift), words, heard))
        _, _, words, heard = max(choices, key=lambda choice: choice[:2])
        walk.forget(left[0], right[-1] + 1)
        walk.mark(np.array(words), heard)
