"""A part of the recordings is a draw that can be repeated, spread over the speakers, and described in one line."""

from collections import Counter

import pytest

from forced_aligner.data.choice import announce_choice, choose
from forced_aligner.data.records import Clip


def clips_of(**counts):
    """So many clips of each speaker, one speaker after the other, as LibriSpeech's are sorted."""
    return [
        Clip(audio=f"{speaker}-{number}.wav", transcript="one", speaker=speaker)
        for speaker, count in counts.items()
        for number in range(count)
    ]


def test_every_speaker_has_a_clip_before_one_has_two():
    clips = clips_of(a=50, b=3, c=20, d=1)
    assert len({clip.speaker for clip in choose(clips, 3)}) == 3
    assert Counter(clip.speaker for clip in choose(clips, 4)) == dict.fromkeys("abcd", 1)
    counts = Counter(clip.speaker for clip in choose(clips, 15))
    assert (counts["b"], counts["d"], abs(counts["a"] - counts["c"])) == (3, 1, 1)


def test_a_choice_can_be_repeated_and_keeps_the_order():
    clips = clips_of(a=50, b=30)
    chosen = choose(clips, 10)
    assert chosen == choose(clips, 10) == sorted(chosen, key=clips.index)
    assert len(chosen) == 10
    assert chosen != clips[:10]


@pytest.mark.parametrize("count", [None, 80, 1000])
def test_all_are_taken_where_there_are_no_more(count, capsys):
    clips = clips_of(a=50, b=30)
    assert choose(clips, count) == clips
    assert announce_choice(choose(clips, count), clips) == "all 80 recordings"
    assert capsys.readouterr().err == ""


def test_without_speakers_it_is_a_plain_draw():
    clips = [Clip(audio=f"{number}.wav", transcript="one") for number in range(100)]
    chosen = choose(clips, 5)
    assert len(chosen) == 5
    assert chosen != clips[:5]
    assert announce_choice(chosen, clips) == "5 of 100 recordings, a seeded draw"


def test_a_draw_is_said_with_its_speakers(capsys):
    clips = clips_of(a=50, b=30, c=1)
    announce_choice(choose(clips, 2), clips)
    assert capsys.readouterr().err == "2 of 81 recordings, a seeded draw over 2 of 3 speakers\n"


def test_the_demo_clips_are_spread_over_their_voices(demo_clips):
    assert len({clip.speaker for clip in choose(demo_clips, 3)}) == 3
