"""True times beside a recording are read as other programs write them, and matched with the aligner's words."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from praatio import textgrid
from praatio.utilities.constants import Interval, Point

from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.data.pairs import paired_clips
from forced_aligner.data.records import Clip, WordTime
from forced_aligner.data.time_files import READERS, spoken_words
from forced_aligner.data.true_times import match_words, true_times
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.reference import make_reference
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.boundaries import boundary_errors_ms
from forced_aligner.score.gate import Gate
from forced_aligner.score.tables import print_report

# "It's so - nice." as three programs write it; in Buckeye's the second word is drawn out
WORDS = ["It's", "so", "nice"]
TIMES_MS = [(250, 500), (500, 900), (1100, 1600)]

HEADER = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\ntiers? <exists>\n'


def tier(name, *intervals, kind="IntervalTier"):
    """A tier in Praat's long format."""
    rows = "".join(
        f'        intervals [{n}]:\n            xmin = {a}\n            xmax = {b}\n            text = "{text}"\n'
        for n, (a, b, text) in enumerate(intervals, 1)
    )
    return (
        f'        class = "{kind}"\n        name = "{name}"\n        xmin = 0\n        xmax = 2\n'
        f"        intervals: size = {len(intervals)}\n{rows}"
    )


def grid(*tiers):
    """A TextGrid of the given tiers."""
    return (
        HEADER + f"size = {len(tiers)}\nitem []:\n" + "".join(f"    item [{n}]:\n{t}" for n, t in enumerate(tiers, 1))
    )


# As in the Montreal Forced Aligner's files and LibriSpeech's alignments: silence is an empty interval.
SPOKEN = ((0, 0.25, ""), (0.25, 0.5, "it's"), (0.5, 0.9, "so"), (0.9, 1.1, ""), (1.1, 1.6, "nice"), (1.6, 2, ""))
PHONES = tier("phones", (0, 0.25, "sil"), (0.25, 2, "spn"))
SHORT_GRID = (
    'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n2\n<exists>\n1\n"IntervalTier"\n"words"\n0\n2\n6\n'
    + "".join(f'{a}\n{b}\n"{text}"\n' for a, b, text in SPOKEN)
)
CTM = """;; comment
talk 1 0.00 0.25 <eps> 1.00
talk 1 0.25 0.25 IT'S 0.98
talk 1 0.50 0.40 SO 0.97
talk 1 1.10 0.50 NICE
"""
BUCKEYE = """signal talk
type 0
color 124
comment created using xlabel Sat Jan 12 20:19:00 2002
separator ;
nfields 1
#
    0.100000  122 {B_TRANS}
    0.250000  122 <SIL>; S; S; null
    0.500000  121 it's; ih t s; ih s; PRP_VBZ
    0.900000  121 <EXT-so>; s ow; s ow; RB
    1.100000  122 <VOCNOISE>; U; U; null
    1.600000  121 nice; n ay s; n ay s; JJ
    2.000000  122 {E_TRANS}
"""


def clip_beside(folder, name, content):
    """The clip of a recording that has the file `name` with `content` beside it."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return Clip(audio=str(folder / "talk.wav"), transcript="It's so - nice.")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("talk.TextGrid", grid(tier("words", *SPOKEN), PHONES)),
        ("talk.TextGrid", grid(tier("speaker 1 - words", *SPOKEN), tier("speaker 1 - phones", (0, 2, "spn")))),
        ("talk.TextGrid", grid(tier("Transkription", *SPOKEN))),
        ("talk.TextGrid", grid(tier("words", *SPOKEN), PHONES).encode("utf-16")),
        ("talk.textgrid", SHORT_GRID),
        ("talk.ctm", CTM),
        ("talk.ctm", CTM + "other 1 0.00 0.30 WORDS\n"),
        ("talk.ctm", CTM.replace("talk", "utt-1")),
        ("talk.words", BUCKEYE),
    ],
)
def test_true_times_are_read_as_other_programs_write_them(tmp_path, capsys, name, content):
    words = true_times(clip_beside(tmp_path, name, content), WORDS)
    assert capsys.readouterr().err == ""
    assert [word.text for word in words] == WORDS
    for word, (start_ms, end_ms) in zip(words, TIMES_MS, strict=True):
        assert (word.start_time_ms, word.end_time_ms) == pytest.approx((start_ms, end_ms))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("talk.TextGrid", "no grid", "talk.TextGrid cannot be read as a TextGrid"),
        ("talk.TextGrid", b"\xe9\x80\x80\x80", "talk.TextGrid cannot be read as a TextGrid"),
        (
            "talk.TextGrid",
            grid(tier("words", *SPOKEN))[:400],
            "talk.TextGrid cannot be read as a TextGrid|not the tran",
        ),
        ("talk.TextGrid", grid(PHONES, tier("notes", (0, 2, "a"))), "has the tiers phones, notes; expected one that"),
        ("talk.ctm", "talk 1 0.25 IT'S\n", "talk.ctm is not CTM: expected recording, channel, start, duration"),
        ("talk.ctm", "a 1 0 1 it's\nb 1 0 1 so\n", "holds several recordings, none of which is talk"),
        ("talk.ctm", CTM.replace("1.10", "0.10"), "talk.ctm: the times of 'NICE' .* go back"),
        ("talk.ctm", "", "its words are not the transcript's: after '' the true times go on with ''"),
        ("talk.words", "0.5 121 it's; a; b; c\n", "talk.words is not Buckeye's: its header has no last line '#'"),
        ("talk.words", "#\nhalf 121 its\n", "talk.words: expected an end time, a color and a word, found 'half 121"),
        ("talk.words", BUCKEYE.replace("1.600000", "nan"), "the times of 'nice' .* are not finite"),
        ("talk.words", BUCKEYE.replace("1.600000", "inf"), "the times of 'nice' .* are not finite"),
        ("talk.words", BUCKEYE.replace("1.600000", "1e306"), "the times of 'nice' .* beyond any recording"),
        ("talk.ctm", CTM.replace("0.50 0.40", "-0.50 0.40"), "the times of 'SO' .* go back"),
        ("talk.ctm", CTM.replace("1.10 0.50", "1.10 inf"), "the times of 'NICE' .* are not finite"),
        ("talk.TextGrid", grid(tier("words", *SPOKEN)).replace("xmax = 1.6", "xmax = 1e999"), "are not finite"),
        ("talk.TextGrid", grid(tier("words", *SPOKEN)).replace("xmin = 1.1", "xmin = one"), "cannot be read as a Tex"),
        (
            "talk.TextGrid",
            grid(tier("words", *SPOKEN)).replace("size = 6", "size = 1e999"),
            "cannot be read as a|tiers",
        ),
        (
            "talk.TextGrid",
            grid(tier("words", *SPOKEN)).replace("size = 6", "size = 7"),
            r"TextGrid \(it ends too early",
        ),
        ("talk.TextGrid", grid(tier("words", *SPOKEN)).encode("latin-1") + b"\xe9", "cannot be read as a TextGrid"),
        ("talk.TextGrid", grid(), "has the tiers ; expected one that is named words"),
        ("talk.TextGrid", "[" * 200_000, r"cannot be read as a TextGrid \(it ends too early\)"),
        ("talk.TextGrid", HEADER + 'text = "' * 300_000, "cannot be read as a TextGrid"),
        ("talk.words", BUCKEYE.replace("0.900000", "0.400000"), "the times of '<EXT-so>' .* go back"),
        (
            "talk.words",
            BUCKEYE.replace("nice;", "<CUTOFF-ni=nice>;"),
            "after 'itsso' .* with '', the transcript with 'ni",
        ),
        ("talk.words", b"#\n0.5 121 \xff\n", r"cannot read .*talk\.words \(byte 10 is not UTF-8\); save it as UTF-8"),
    ],
)
def test_an_unusable_file_is_reported_and_the_clip_has_no_true_times(tmp_path, capsys, name, content, message):
    assert true_times(clip_beside(tmp_path, name, content), WORDS) is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no true times for talk.wav: ")
    with pytest.raises(AssertionError, match=message):
        raise AssertionError(line)


def test_a_recording_without_true_times_is_not_reported(tmp_path, capsys):
    assert true_times(Clip(audio=str(tmp_path / "talk.wav"), transcript="it's"), ["it's"]) is None
    assert capsys.readouterr().err == ""


labels = st.text(alphabet=' "ab1.é!\n\t[]=', max_size=8) | st.text(
    st.characters(exclude_categories=["Cs", "Cc"]), max_size=5
)


@given(
    names=st.lists(
        st.text(alphabet='ab "1', min_size=1, max_size=4).map(str.strip).filter(bool), unique=True, max_size=2
    ),
    texts=st.lists(labels, min_size=1, max_size=4),
    form=st.sampled_from(["long_textgrid", "short_textgrid"]),
)
def test_textgrids_of_praatio_are_read_with_every_label(names, texts, form):
    grid_of_praatio = textgrid.Textgrid(0, len(texts))
    for name in ["words", *names]:
        entries = [Interval(start, start + 1, text) for start, text in enumerate(texts)]
        grid_of_praatio.addTier(textgrid.IntervalTier(name, entries, 0, len(texts)))
    grid_of_praatio.addTier(textgrid.PointTier("points", [Point(0.5, texts[0])], 0, len(texts)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "talk.TextGrid")
        grid_of_praatio.save(str(path), form, includeBlankSpaces=True)
        assert READERS[".TextGrid"](path) == [(n, n + 1, text.strip()) for n, text in enumerate(texts)]


@given(
    suffix=st.sampled_from(list(READERS)),
    content=st.binary(max_size=80)
    | st.lists(
        st.sampled_from([*grid(tier("words", *SPOKEN)).split("\n"), *CTM.split("\n"), *BUCKEYE.split("\n")])
    ).map(lambda lines: "\n".join(lines).encode()),
)
def test_any_bytes_beside_a_recording_are_times_or_one_sentence(suffix, content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"talk{suffix}")
        path.write_bytes(content)
        try:
            spoken_words(path, READERS[suffix](path))
        except UserError as error:
            assert "\n" not in str(error)
            assert len(str(error)) < 1000


def true_words(*words):
    """Words with true times, each 100 ms long."""
    return [WordTime(text=word, start_time_ms=100 * n, end_time_ms=100 * n + 100) for n, word in enumerate(words)]


@pytest.mark.parametrize(
    ("texts", "words", "spans"),
    [
        (["WELL,", "Café"], ["Well", "cafe"], [(0, 100), (100, 200)]),  # case, punctuation, accents
        (["mother", "in", "law"], ["motherinlaw"], [(0, 300)]),  # the aligner drops the hyphens
        (["do", "n't", "know"], ["don't", "know"], [(0, 200), (200, 300)]),  # clitics apart
        (["don’t"], ["don't"], [(0, 100)]),
        (["-", "oh", "--"], ["oh"], [(100, 200)]),  # a label of punctuation is no word
        (["你好"], ["你好"], [(0, 100)]),
        (["ＡＢ", "ﾃﾞ"], ["AB", "デ"], [(0, 100), (100, 200)]),  # width
    ],
)
def test_words_are_matched_by_their_letters(texts, words, spans):
    matched = match_words(true_words(*texts), words)
    assert [word.text for word in matched] == words
    assert [(word.start_time_ms, word.end_time_ms) for word in matched] == spans


@pytest.mark.parametrize(
    ("texts", "words", "message"),
    [
        (["one", "two"], ["one"], "the true times go on with 'two', the transcript with ''"),
        (["one"], ["one", "two"], "the true times go on with '', the transcript with 'two'"),
        (["<unk>", "two"], ["one", "two"], "the true times go on with 'unktwo', the transcript with 'onetwo'"),
        (["你好"], ["你", "好"], "no true time for both ends of the aligner's word '你'"),
        (["oh"], ["oh", "'"], "no true time for both ends"),
    ],
)
def test_words_that_cannot_be_matched_are_named(texts, words, message):
    with pytest.raises(UserError, match=message):
        match_words(true_words(*texts), words)


def test_compare_shows_the_error_against_true_times(demo_bundle, demo_checkpoint, demo_clips, tmp_path, capsys):
    """One recording has its true times in a TextGrid; the other has those of another recording beside it."""
    folder = tmp_path / "talks"
    folder.mkdir()
    for clip, name in zip(demo_clips[1:3], "ab", strict=True):
        shutil.copy(clip.audio, folder / f"{name}.flac")
        (folder / f"{name}.txt").write_text(clip.transcript)
    rows = [(w.start_time_ms / 1000, w.end_time_ms / 1000, w.text.upper()) for w in demo_clips[1].alignments]
    (folder / "a.TextGrid").write_text(grid(tier("words", *rows)))
    (folder / "b.words").write_text("#\n 1.0 121 other; a; b; c\n")
    reference = make_reference(demo_checkpoint, paired_clips(folder, "English"), tmp_path / "reference.json")
    assert "no true times for b.flac: its words are not the transcript's" in capsys.readouterr().err
    assert reference.samples[1].true_alignments is None
    expected = boundary_errors_ms(reference.samples[0].alignments, demo_clips[1].alignments).mean()
    assert expected > 5
    report, _ = compare(Aligner(demo_bundle, MilBackend(demo_bundle)), reference, tmp_path, Gate())
    assert [sample.truth_aas_ms is None for sample in report.samples] == [False, True]
    assert report.truth_aas_ms == report.samples[0].truth_aas_ms
    assert report.truth_aas_ms.packages == pytest.approx(expected, abs=0.01)
    print_report(report)
    assert f"{expected:.1f}" in next(line for line in capsys.readouterr().out.splitlines() if "a.flac" in line)


def test_our_own_textgrid_is_read_as_true_times(tmp_path):
    """`infer` writes the same formats as other programs, so its files must not lie beside recordings to be scored."""
    from forced_aligner.output.cues import CueOptions
    from forced_aligner.output.formats import FORMATS
    from forced_aligner.output.records import TimedFile, TimedWord

    words = [
        TimedWord(text=f"{word},", word=word, start_time_ms=start, end_time_ms=end, confidence=1.0)
        for word, (start, end) in zip(WORDS, TIMES_MS, strict=True)
    ]
    file = TimedFile(audio="talk.wav", language=None, duration_s=2.0, words=words)
    for name in ("textgrid", "ctm"):
        folder = tmp_path / name
        folder.mkdir()
        clip = clip_beside(folder, f"talk{FORMATS[name].suffix}", FORMATS[name].write(file, CueOptions()))
        times = true_times(clip, WORDS)
        assert [(word.start_time_ms, word.end_time_ms) for word in times] == TIMES_MS
