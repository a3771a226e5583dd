"""A picture of an alignment is legible for five seconds and for sixty, and has a bounded size for long audio."""

import os
import warnings
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path

import matplotlib.image
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.data.records import WordTime
from forced_aligner.jobs.recording_picture import FREQUENCIES_HZ, PICTURE_MEL_BINS, as_written, spectrogram_of
from forced_aligner.output.alignment_picture import plot_alignment
from forced_aligner.output.fonts import OWN_FONT, cjk_fonts, fonts
from forced_aligner.output.own_files import is_own_picture
from forced_aligner.output.picture_labels import SMALLEST_LABEL_PT
from forced_aligner.output.size_picture import SizePoint, label_points, plot_sizes


def join_clips(clips, duration_s):
    """Clips one after another, cut at `duration_s`: (samples,), and the words that end before the cut."""
    parts, words, start_s = [], [], 0.0
    while start_s < duration_s:
        clip = clips[len(parts) % len(clips)]
        parts.append(load_audio(Path(clip.audio)))
        for word in clip.alignments:
            times = {key: getattr(word, key) + start_s * 1000 for key in ("start_time_ms", "end_time_ms")}
            words.append(replace(word, **times))
        start_s += parts[-1].size / SAMPLE_RATE_HZ
    samples = np.concatenate(parts)[: int(duration_s * SAMPLE_RATE_HZ)]
    return samples, [word for word in words if word.end_time_ms <= duration_s * 1000]


@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A function that draws an alignment, and returns the figure and the picture's (height, width) in pixels."""
    monkeypatch.setattr(plt, "close", lambda figure: None)

    def draw(samples, words, confidences=None, title="talk.flac"):
        plot_alignment(spectrogram_of(samples), {"words": words}, title, tmp_path / "picture.png", confidences)
        return plt.gcf(), matplotlib.image.imread(tmp_path / "picture.png").shape[:2]

    yield draw
    monkeypatch.undo()
    plt.close("all")


@pytest.mark.parametrize(("duration_s", "rows"), [(5, 1), (60.03, 6)])
def test_every_word_is_written_and_no_label_overlaps(drawn, demo_clips, duration_s, rows):
    samples, words = join_clips(demo_clips[4:], duration_s)
    figure, (_, width) = drawn(samples, words)
    assert len(figure.axes) == rows
    assert width < 1800
    assert {text.get_text() for axes in figure.axes for text in axes.texts} == {word.text for word in words}
    for axes in figure.axes:
        assert all(text.get_fontsize() >= SMALLEST_LABEL_PT for text in axes.texts)
        extents = sorted((box.x0, box.x1) for box in (text.get_window_extent() for text in axes.texts))
        assert all(left[1] < right[0] for left, right in pairwise(extents))
        assert extents[0][0] >= axes.bbox.x0
        assert extents[-1][1] <= axes.bbox.x1


def test_a_long_recording_has_longer_rows_instead_of_more(drawn, demo_clips, monkeypatch):
    monkeypatch.setattr("forced_aligner.output.alignment_picture.MAX_ROWS", 3)
    samples, words = join_clips(demo_clips[4:], 120)
    figure, (height, width) = drawn(samples, words)
    assert [axes.get_xlim() for axes in figure.axes] == [(0, 40), (40, 80), (80, 120)]
    assert height < 600
    assert width < 1800
    spans = sum(len(axes.collections[1].get_paths()) for axes in figure.axes)
    assert spans >= len(words)
    assert sum(len(axes.texts) for axes in figure.axes) < len(words)  # labels that would not be legible are omitted


def with_some_of_no_length(words, every):
    """The words, each `every`-th and the one after it cut to its start."""
    cut = [replace(word, end_time_ms=word.start_time_ms) for word in words]
    return [cut[n] if n % every < 2 else word for n, word in enumerate(words)]


@pytest.mark.parametrize(("duration_s", "every"), [(5, 7), (5, 2), (60, 7), (60, 2)])
def test_a_word_without_length_is_marked_and_its_name_covers_no_other(drawn, demo_clips, duration_s, every):
    samples, words = join_clips(demo_clips[4:], duration_s)
    words = with_some_of_no_length(words, every)
    figure, _ = drawn(samples, words)
    (lane,) = {axes.get_ylim() for axes in figure.axes}
    marked = {float(time_s) for axes in figure.axes for time_s in axes.lines[0].get_xdata()}
    assert marked == {word.start_time_ms / 1000 for word in words if word.start_time_ms == word.end_time_ms}
    named = [text for axes in figure.axes for text in axes.texts if text.get_position()[1] > lane[1] - 0.2]
    assert named
    if every == 7:
        assert {text.get_text() for axes in figure.axes for text in axes.texts} == {word.text for word in words}
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in [*axes.texts, axes.title] if text.get_text()]
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


@pytest.mark.parametrize(("count", "name"), [(1, "one"), (4, "one +3"), (100_000, "one +99999")])
def test_words_at_one_time_share_a_mark(drawn, count, name):
    samples = np.zeros(16_000, np.float32)
    figure, _ = drawn(samples, [WordTime(text="one", start_time_ms=1000, end_time_ms=1000)] * count)
    assert list(figure.axes[0].lines[0].get_xdata()) == [1.0]
    assert [text.get_text() for text in figure.axes[0].texts] == [name]  # also at the end of the audio


def test_where_there_is_not_room_for_all_names_many_words_are_named_first(drawn):
    texts_and_times_ms = [(f"word-{n}", 400 + 80 * n) for n in range(10)] + [("many", 800)]
    words = [WordTime(text=text, start_time_ms=ms, end_time_ms=ms) for text, ms in texts_and_times_ms]
    words.sort(key=lambda word: word.start_time_ms)
    figure, _ = drawn(np.zeros(5 * SAMPLE_RATE_HZ, np.float32), words)
    names = [text.get_text() for text in figure.axes[0].texts]
    assert names[0] == "word-5 +1"
    assert 1 < len(names) < 10
    assert len(figure.axes[0].lines[0].get_xdata()) == 10


def test_a_lane_has_room_above_it_only_where_a_word_has_no_length(drawn):
    samples, lasting = np.zeros(16_000, np.float32), WordTime(text="one", start_time_ms=0, end_time_ms=900)
    _, (plain, _) = drawn(samples, [lasting])
    _, (marked, _) = drawn(samples, [lasting, WordTime(text="two", start_time_ms=900, end_time_ms=900)])
    assert 0 < marked - plain < 40


def test_the_mel_picture_has_a_frequency_axis(drawn):
    times_s = np.arange(16_000) / SAMPLE_RATE_HZ
    for name, hz in FREQUENCIES_HZ.items():
        tone = np.sin(2 * np.pi * hz * times_s).astype(np.float32)
        figure, _ = drawn(tone, [])
        (axes,) = figure.axes
        names = [label.get_text() for label in axes.get_yticklabels(minor=True)]
        ticks = dict(zip(names, axes.get_yticks(minor=True), strict=True))
        assert list(ticks) == ["0.5", "1", "2", "4 kHz"]
        (image,) = axes.images
        _, _, bottom, top = image.get_extent()
        loudest = np.argmax(np.asarray(image.get_array()).mean(axis=1))
        bins = (ticks[name] - bottom) / (top - bottom) * PICTURE_MEL_BINS
        assert abs(bins - (loudest + 0.5)) < 1


def test_the_names_of_frequencies_do_not_overlap_in_low_rows(drawn):
    figure, _ = drawn(np.zeros(20 * SAMPLE_RATE_HZ, np.float32), [])
    for axes in figure.axes:
        labels = [*axes.get_yticklabels(minor=True), *axes.get_yticklabels()]
        boxes = [label.get_window_extent() for label in labels]
        assert len(boxes) == 5
        assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_a_less_sure_word_is_paler(drawn, demo_clips):
    samples, words = join_clips(demo_clips[4:], 5)
    confidences = list(np.linspace(0.1, 1, len(words)))
    figure, _ = drawn(samples, words, confidences)
    shades = figure.axes[0].collections[1].get_facecolors()[:, 3]
    assert all(np.diff(shades) > 0)
    assert "less sure" in figure.axes[0].get_xlabel()
    assert "less sure" not in drawn(samples, words)[0].axes[0].get_xlabel()


def test_sound_without_words_is_shaded_and_named(drawn, tmp_path):
    samples = np.zeros(20 * SAMPLE_RATE_HZ, np.float32)
    figure, _ = drawn(samples, [])
    assert not figure.legends
    assert not any(axes.patches for axes in figure.axes)
    stretches, path = [(2.0, 5.0), (9.0, 12.0)], tmp_path / "shaded.png"
    plot_alignment(spectrogram_of(samples), {"words": []}, "talk", path, wordless_s=stretches)
    for axes in plt.gcf().axes:  # both rows: the second stretch goes on in the next
        assert [(patch.get_x(), patch.get_width()) for patch in axes.patches] == [(2.0, 3.0), (9.0, 3.0)]
    ((name,),) = [legend.get_texts() for legend in plt.gcf().legends]
    assert name.get_text() == "sound without words"


def test_the_shortest_clip_and_a_word_without_length_are_drawn(drawn):
    samples = np.zeros(1600, np.float32)
    figure, _ = drawn(samples, [WordTime(text="one", start_time_ms=80, end_time_ms=80)], title="$5 and $6")
    assert figure.axes[0].get_xlim() == (0, 0.1)
    assert figure.axes[0].get_title() == "$5 and $6"


# Escape sequences, mathematics for matplotlib, letters that no font here has, that have no width, or that are none.
ODD_TEXTS = [
    "\x1b[31mred\x00", "$x_1", "$$", "a\tb\nc", "\u202egnp.exe", "\u200b", "", "👩\u200d👧", "\U000e0041", "\ud800",
    "ꙮ", "हि", "ไทย", "שלום", "مرحبا",
]  # fmt: skip


def no_warning_and_no_output(capfd):
    captured = capfd.readouterr()
    return captured.out + captured.err == ""


def test_odd_names_and_words_are_drawn_without_a_warning(tmp_path, capfd):
    words = [WordTime(text=text, start_time_ms=200 * n, end_time_ms=200 * n + 200) for n, text in enumerate(ODD_TEXTS)]
    title = " ".join(ODD_TEXTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spectrogram = spectrogram_of(np.zeros(40_000, np.float32))
        plot_alignment(spectrogram, {"$words": words, "\x1b[2J": words}, title, tmp_path / "words.png")
        points = [SizePoint(text, 1000 * n, 99.0, passed=True) for n, text in enumerate(ODD_TEXTS, 1)]
        plot_sizes(points, title, tmp_path / "sizes.png")
    assert no_warning_and_no_output(capfd)
    assert plt.get_fignums() == []


CJK = ("中文", "日本のカタカナ", "한국어")


def test_a_text_without_cjk_letters_looks_for_no_font(monkeypatch):
    monkeypatch.setattr("forced_aligner.output.fonts.cjk_fonts", lambda: pytest.fail("it looked"))
    assert fonts("Größe, ёлка, عربي, 1 – 2 …") == [OWN_FONT]


@pytest.mark.parametrize("text", CJK)
def test_cjk_letters_are_drawn_where_a_font_has_them(drawn, monkeypatch, text):
    if not any(cjk_fonts()):
        pytest.skip("no font for Chinese, Japanese or Korean is installed (Debian: apt-get install fonts-noto-cjk)")
    missing = set(text)
    for name in fonts(text):
        font = FT2Font(font_manager.findfont(name, fallback_to_default=False))
        missing -= {letter for letter in missing if font.get_char_index(ord(letter))}
    assert not missing
    words = [WordTime(text=text, start_time_ms=0, end_time_ms=3000)]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "filterwarnings", lambda *_, **__: None)  # those that `drawing` sets
        drawn(np.zeros(48_000, np.float32), words, title=text)
    assert not [warning for warning in caught if "Glyph" in str(warning.message)]  # a letter that is a box


class Font:
    """An installed font, as far as the choice looks at it."""

    def __init__(self, name, letters, style="Regular"):
        self.family_name, self.letters, self.style_name = name, letters, style

    def get_char_index(self, code):
        return int(chr(code) in self.letters)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("中", ["Noto Sans CJK SC"]),
        ("中の", ["Kochi Gothic"]),  # one font for all, not two that do not go together
        ("中한", ["Noto Sans CJK SC", "UnDotum"]),
        ("𠀀中", ["Noto Sans CJK SC", "Unifont"]),
        ("𠀀𠀁", ["Unifont"]),
    ],
)
def test_the_fonts_are_those_that_have_the_letters(monkeypatch, text, names):
    installed = [
        Font("Unifont", "中の한𠀀"), Font("UnDotum", "한"), Font("Kochi Gothic", "中の"), Font("Song", "中", "Bold"),
        Font("Noto Sans CJK SC", "中", "Black"), Font("Noto Sans CJK SC", "中"), Font("DejaVu", "a"),
    ]  # fmt: skip
    monkeypatch.setattr("forced_aligner.output.fonts._known_name", lambda font: font.family_name)
    monkeypatch.setattr("forced_aligner.output.fonts.FT2Font", installed.__getitem__)
    monkeypatch.setattr("forced_aligner.output.fonts.font_paths", lambda: range(len(installed)))
    cjk_fonts.cache_clear()
    try:
        assert cjk_fonts()[0][0].style_name == "Regular"
        assert fonts(text) == [OWN_FONT, *names]
    finally:
        cjk_fonts.cache_clear()


def test_no_name_in_the_picture_of_sizes_covers_another():
    sizes_and_moved = [
        (9.43, 0),
        (9.40, 0),
        (9.29, 0.06),
        (5.75, 0.17),
        (4.53, 0.58),
        (4.20, 1.9),
        (3.95, 5.3),
        (4.1, 5),
    ]
    points = [
        SizePoint(f"preset {n}", int(mb * 1e6), moved, passed=True) for n, (mb, moved) in enumerate(sizes_and_moved)
    ]
    figure, axes = plt.subplots(figsize=(7, 4))
    axes.set(xlim=(0, 11), ylim=(0, 15))
    axes.set_yscale("symlog", linthresh=0.01)
    boxes = label_points(figure, axes, points)
    plt.close(figure)
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


def test_words_get_the_spelling_of_the_transcript():
    words = [WordTime(text=text, start_time_ms=n, end_time_ms=n) for n, text in enumerate(["Well", "he", "s"])]
    written = as_written("“Well — he;s!", words)
    assert [(word.text, word.start_time_ms) for word in written] == [("“Well", 0), ("he;", 1), ("s!", 2)]


def test_a_pictures_control_characters_are_seen(drawn):
    figure, _ = drawn(np.zeros(16_000, np.float32), [WordTime(text="\x1b[1m", start_time_ms=0, end_time_ms=900)])
    assert [text.get_text() for text in figure.axes[0].texts] == [r"\x1b[1m"]


def test_a_picture_is_written_by_the_writer_that_is_passed(tmp_path):
    written = {}
    plot_sizes([SizePoint("a", 1, 1.0, passed=True)], "title", tmp_path / "a.png", write=written.__setitem__)
    spectrogram = spectrogram_of(np.zeros(1600, np.float32))
    plot_alignment(spectrogram, {"words": []}, "title", tmp_path / "b.png", write=written.__setitem__)
    assert [path.name for path in written] == ["a.png", "b.png"]
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_this_project_is_told_from_all_else(tmp_path):
    own = tmp_path / "own.png"
    plot_alignment(spectrogram_of(np.zeros(1600, np.float32)), {"words": []}, "title", own)
    assert is_own_picture(own)

    (tmp_path / "link.png").symlink_to(own)
    (tmp_path / "circle.png").symlink_to("circle.png")
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(own.read_bytes()[:20])
    (tmp_path / "text.png").write_bytes(own.read_bytes()[8:])
    figure = plt.figure()
    figure.savefig(tmp_path / "foreign.png")
    plt.close(figure)
    named_later = (tmp_path / "foreign.png").read_bytes().replace(b"IEND", b"tEXtSoftware\0qwen3-forcedaligner-coreml")
    (tmp_path / "later.png").write_bytes(named_later)
    others = [path for path in tmp_path.iterdir() if path != own]
    assert len(others) == 9
    odd = [tmp_path / "gone.png", tmp_path / ("n" * 300), Path("a\0b"), tmp_path / "empty.png" / "below"]
    assert not any(map(is_own_picture, [*others, *odd]))
