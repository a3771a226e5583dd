"""Subtitle cues: what is shown, when, and where it is broken."""

import io
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import ass
import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st

from forced_aligner.base.errors import UserError
from forced_aligner.data.spoken import spoken_text
from forced_aligner.output.cue_breaks import Cue, group_cues, make_cues, starts_after
from forced_aligner.output.cue_lines import break_lines
from forced_aligner.output.cues import MILLISECOND_NS, CueOptions, Span, join_words, limits_of, spans
from forced_aligner.output.formats import FORMATS
from forced_aligner.output.reading import GAP_MS, GUIDELINES, language_code
from forced_aligner.output.records import TimedFile, TimedWord
from forced_aligner.output.sentences import sentence_ends
from forced_aligner.output.spelling import written_words

ROUNDING_MS = 1.5


def recording(text, language="English", ms=400, pause_ms=0, duration_s=None):
    """A file of the words of `text`, which last `ms` each, one after the other."""
    spoken = spoken_text(text)
    pattern = r"[^\W_]" if language in ("Chinese", "Cantonese", "Japanese") else r"[^\W_]+(?:['’.,:-][^\W_]+)*"
    names = re.findall(pattern, spoken.text)
    words, at = [], 0
    for written in written_words(text, names, spoken):
        fields = {"text": written.text, "mark": written.mark, "no_space_before": written.no_space_before}
        if written.word is not None:
            fields |= {"word": names[written.word], "start_time_ms": at, "end_time_ms": at + ms, "confidence": 0.9}
            at += ms + pause_ms
        words.append(TimedWord(begins_line=written.begins_line, **fields))
    return TimedFile(audio="a.wav", language=language, duration_s=duration_s or at / 1000 + 5, words=words)


def shown(file, **options):
    """The texts of the cues; lines are parted by ` / `."""
    cues = make_cues(file, CueOptions(**options), MILLISECOND_NS)
    return [" / ".join(join_words(line) for line in cue.lines) for cue in cues]


def timed(*words, duration_s=20.0):
    return [
        replace(span, ends_sentence=span.text.endswith("."))
        for span in spans(
            TimedFile(
                audio="a.wav",
                language="English",
                duration_s=duration_s,
                words=[TimedWord(text=text, word="x", start_time_ms=a, end_time_ms=b) for text, a, b in words],
            )
        )
    ]


# --- where sentences end -------------------------------------------------------------------------------------------

SENTENCES = [
    ("en", "I met Mr. Smith and Dr. Jones at 5 p.m. yesterday.| It rained."),
    ("en", 'He told me, "Go home now."| The end of the day came.'),
    ("en", "“Go home.| I mean it.| Now.”| They went."),
    ("en", "J. R. R. Tolkien paid $3.50 for vol. 3 on Quay Rd. in Oxford.| Fine."),
    ("en", '"Why?" she asked.| Nobody knew.'),
    ("en", "(It was late.)| Perhaps…| Then we left."),
    ("de", "Das ist z.B. gut, d.h. nicht schlecht.| Ja."),
    ("de", "Er kam am 3. Mai mit Dr. Müller.| „Geh nach Hause.“| Dann ging er."),
    ("es", "El Sr. García y la Sra. López viven en EE. UU. desde 1990.| ¿Y tú?| Bien."),
    ("es", "Dijo: «Vete a casa.»| Luego se fue."),
    ("fr", "M. Dupont et Mme. Durand vivent p. ex. à Paris.| Oui."),
    ("fr", "Il a dit : « Rentre chez toi. »| Puis il partit."),
    ("it", "Il sig. Rossi e la dott.ssa Bianchi vivono a Roma.| Sì."),
    ("pt", "O Sr. Silva e a Dra. Souza moram na Av. Paulista.| Sim."),
    ("ru", "Я купил яблоки, груши и т. д. в магазине на ул. Ленина.| Да."),
    ("ru", "А. С. Пушкин сказал: «Иди домой.»| Потом ушёл."),
    ("ko", "그는 3.5km를 걸었다.| “집에 가.”| 그리고 떠났다."),
    ("zh", "他说：「回家吧。」|然后他走了。|你好吗？"),
    ("yue", "佢話：「返屋企啦。」|跟住佢走咗。"),
    ("ja", "「帰れ。」|彼は3.5キロ歩いた。|本当？"),
]


@pytest.mark.parametrize(("code", "text"), SENTENCES)
def test_a_sentence_ends_with_its_closing_quote_and_not_with_an_abbreviation(code, text):
    wide = code in ("zh", "yue", "ja")
    pieces = text.split("|")
    words = [re.findall(r"\w[\d.]*\W*|\W", piece) if wide else piece.split() for piece in pieces]
    flat = [TimedWord(text=word, no_space_before=wide) for piece in words for word in piece]
    expected = [number == len(piece) - 1 for piece in words for number in range(len(piece))]
    ends = sentence_ends(flat, code)
    if wide:  # an opening quote stands before its word
        at = [index for index, end in enumerate(ends) if end]
        assert ["".join(w.text for w in flat[a + 1 : b + 1]) for a, b in pairwise([-1, *at])] == pieces
    else:
        assert [word.text for word, end in zip(flat, ends, strict=True) if end] == [
            word.text for word, end in zip(flat, expected, strict=True) if end
        ]


def test_white_space_that_the_sentence_library_fails_on_does_not_reach_it():
    words = [TimedWord(text=text) for text in ("by A.\u2028B.\u2028", "Smith.", "\u2029No.")]
    assert sentence_ends(words, "en")[-1]


def test_no_words_have_no_sentences():
    assert sentence_ends([], "en") == []


def test_the_sentence_library_is_loaded_where_cues_are_made_alone():
    code = "import sys, forced_aligner.output.subtitles; sys.exit('sentencex' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- where cues are broken -----------------------------------------------------------------------------------------


def test_a_cue_ends_after_a_closing_quote_and_not_after_an_abbreviation():
    text = (
        'I met Mr. Smith and Dr. Jones at 5 p.m. yesterday. He told me, "Go home now, and tell your brother." '
        "The end of the day came sooner than anybody had thought."
    )
    assert shown(recording(text)) == [
        "I met Mr. Smith and Dr. Jones / at 5 p.m. yesterday.",
        'He told me, "Go home now, / and tell your brother."',
        "The end of the day came sooner / than anybody had thought.",
    ]


def test_a_last_word_is_not_left_alone():
    (cue,) = shown(recording("The quick brown fox jumps over the lazy dog.", ms=250))
    assert cue == "The quick brown fox jumps / over the lazy dog."


def test_a_short_answer_joins_its_neighbour():
    assert shown(recording("Yes. I know it.", ms=200)) == ["Yes. I know it."]


def test_a_long_pause_starts_a_new_cue_without_any_punctuation():
    words = timed(("one", 0, 400), ("two", 1200, 1600), ("three", 2401, 2800))
    cues = group_cues(words, limits_of(CueOptions(), "en"), 20_000)
    assert [len(cue) for cue in cues] == [2, 1]  # pauses of 800 and 801 ms


@pytest.mark.parametrize("end", [".", "?", "!", "…", "。", "？", "！"])
def test_the_end_of_a_sentence_starts_a_new_cue_without_any_pause(end):
    text = f"Nobody had ever been there before{end} They went all the same, and stayed."
    assert [cue.split()[0] for cue in shown(recording(text))] == ["Nobody", "They"]


def test_cues_keep_their_limits():
    words = timed(*((f"word{i}", i * 500, i * 500 + 400) for i in range(40)))
    limits = limits_of(CueOptions(max_line_chars=20, max_lines=2, max_cue_s=2.0), "en")
    cues = group_cues(words, limits, 20_000)
    assert [word for cue in cues for word in cue] == words
    assert max(cue[-1].end_ms - cue[0].start_ms for cue in cues) <= 2000
    one_line = group_cues(words, replace(limits, lines=1), 20_000)
    assert all(len(join_words(cue)) <= 20 for cue in one_line)


def test_a_word_wider_than_a_line_has_a_line_of_its_own():
    words = timed(("a" * 50, 0, 500), ("b", 500, 900), ("c" * 50, 900, 1400))
    cues = group_cues(words, limits_of(CueOptions(), "en"), 20_000)
    assert [[len(line) for line in break_lines(cue, limits_of(CueOptions(), "en"))] for cue in cues] in (
        [[1, 1], [1]],
        [[1], [1, 1]],
    )


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("She walked over to the surgery through the rain.", "She walked over to the surgery / through the rain."),
        ("He stood there for a while, with his hands in his pockets.", "He stood there for a while, / with his hands"),
        ("It fits on one line.", "It fits on one line."),
    ],
)
def test_lines_are_even_and_broken_at_good_places(text, lines):
    assert shown(recording(text, ms=300))[0].startswith(lines)


def test_an_opening_quote_before_a_space_stays_with_what_it_opens():
    text = "Il a dit hier soir à tous ses amis du village : « Rentrez chez vous avant la nuit. »"
    cues = shown(recording(text, "French"))
    assert not [line for cue in cues for line in cue.split(" / ") if line.endswith("«")]
    assert "« Rentrez" in " / ".join(cues)


# --- how long cues last --------------------------------------------------------------------------------------------


def ends_ms(file, **options):
    return [(round(cue.start_ms), round(cue.end_ms)) for cue in make_cues(file, CueOptions(**options), MILLISECOND_NS)]


def test_a_short_cue_lasts_longer_where_there_is_room():
    assert ends_ms(recording("Oh well.", ms=100)) == [(0, 833)]
    assert ends_ms(recording("Oh well.", ms=100), min_cue_s=2) == [(0, 2000)]
    assert ends_ms(recording("Oh well.", ms=100, duration_s=0.5)) == [(0, 500)]  # the audio ends


def test_a_cue_ends_two_frames_before_the_next_and_no_start_moves():
    file = recording("One two. Three four.", ms=100, pause_ms=0)
    later = [
        word.model_copy(update={"start_time_ms": word.start_time_ms + 801, "end_time_ms": word.end_time_ms + 801})
        for word in file.words[2:]
    ]
    file = file.model_copy(update={"words": [*file.words[:2], *later]})
    assert ends_ms(file, min_cue_s=3) == [(0, 1001 - round(GAP_MS)), (1001, 4001)]


def test_a_cue_lasts_as_long_as_it_takes_to_read():
    file = recording("Incomprehensibilities notwithstanding.", ms=300)
    assert ends_ms(file) == [(0, 1900)]  # 38 characters at 20 a second
    assert ends_ms(file, max_cps=10) == [(0, 3800)]
    assert ends_ms(file, max_cps=10, max_cue_s=3) == [(0, 3000)]


def test_a_least_duration_beyond_the_longest_is_refused():
    with pytest.raises(UserError, match="a cue cannot last 3 s at least and 2 s at most"):
        CueOptions(min_cue_s=3, max_cue_s=2)
    assert limits_of(CueOptions(max_cue_s=0.5), "en").least_ms == 500  # the default gives way


# --- languages -----------------------------------------------------------------------------------------------------


def test_every_served_language_has_a_guideline():
    names = ["Chinese", "English", "Cantonese", "French", "German", "Italian", "Japanese", "Korean", "Portuguese"]
    names += ["Russian", "Spanish"]
    assert {language_code(name, "") for name in names} == set(GUIDELINES)
    assert [language_code(code.upper(), "") for code in GUIDELINES] == list(GUIDELINES)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("hello", "en"),
        ("你好，世界", "zh"),
        ("彼は歩いた", "ja"),
        ("그는 걸었다", "ko"),
        ("Он ушёл", "ru"),
        ("", "en"),
        ("12", "en"),
    ],
)
def test_a_language_that_is_not_given_is_guessed_by_its_letters(text, code):
    assert language_code(None, text) == code


@pytest.mark.parametrize(("language", "most"), [("Chinese", 16), ("Cantonese", 16), ("Japanese", 13)])
def test_lines_without_spaces_are_short_and_never_begin_with_punctuation(language, most):
    text = "今天的天气很好，我们一起去公园散步吧。他说：「这里的花开得真漂亮，我从来没有见过这样的花。」后来下雨了。"
    lines = [line for cue in shown(recording(text, language, ms=200)) for line in cue.split(" / ")]
    assert "".join(lines) == text
    assert max(map(len, lines)) <= most
    assert not [line for line in lines if line[0] in "，。」："]
    assert lines[0].endswith("，")


def test_korean_counts_spaces_and_latin_letters_as_halves():
    (cue,) = shown(recording("그는 집에 가서 TV를 보고 잤다 ok", "Korean"), max_lines=1)
    assert len(cue) == 21  # 11 wide characters, and 10 halves


# --- a cue for each line -------------------------------------------------------------------------------------------


def test_each_line_of_the_transcript_is_a_cue():
    text = "Row, row,\nrow your boat\n\ngently. Down\r\nthe stream"
    assert shown(recording(text), cue_per_line=True) == ["Row, row,", "row your boat", "gently. Down", "the stream"]
    assert len(shown(recording(text))) < 4


def test_a_line_that_is_too_long_is_one_cue_of_as_many_lines_as_it_takes():
    text = "one two three four five six seven eight nine ten\neleven"
    first, last = shown(recording(text, ms=2000), cue_per_line=True, max_line_chars=12)
    assert max(map(len, first.split(" / "))) <= 12
    assert first.replace(" / ", " ") == text.split("\n")[0]
    assert last == "eleven"


def test_what_is_not_spoken_stays_in_its_line():
    text = "ANNA: Yes, I do.\n- No.\n[sighs] Well, well."
    assert shown(recording(text), cue_per_line=True) == ["ANNA: Yes, I do.", "- No.", "[sighs] Well, well."]


def test_json_does_not_tell_where_lines_begin():
    file = recording("one\ntwo")
    assert [word.begins_line for word in file.words] == [True, True]
    assert "begins_line" not in file.model_dump_json()


# --- karaoke -------------------------------------------------------------------------------------------------------

LONG = "She walked over to the surgery through the rain."


def test_webvtt_karaoke_marks_every_word_on_both_lines():
    content = FORMATS["vtt"].write(recording(LONG), CueOptions(karaoke=True))
    (cue,) = webvtt.from_buffer(io.StringIO(content))
    assert cue.text == "She walked over to the surgery\nthrough the rain."
    assert re.findall(r"<00:00:0([\d.]+)>", cue.raw_text) == [f"{0.4 * n:.3f}" for n in range(1, 9)]


def test_ass_karaoke_marks_every_word_on_both_lines_until_the_cue_ends():
    content = FORMATS["ass"].write(recording(LONG, ms=200), CueOptions(karaoke=True))
    (event,) = ass.Document.parse_string(content).events
    assert r"{\k20}surgery\N{\k20}through" in event.text
    assert event.text.endswith(r"{\k20}rain.{\k60}")  # 48 characters at 20 a second, and 9 words of 0.2 s
    assert (event.end - event.start).total_seconds() == 2.4


# --- whatever the words are ----------------------------------------------------------------------------------------

some_texts = st.text("ab,.ж好 ", min_size=1, max_size=9).map(str.strip).filter(bool)
some_limits = st.builds(
    CueOptions,
    max_line_chars=st.integers(1, 30),
    max_lines=st.integers(1, 3),
    max_cue_s=st.floats(0.5, 8),
    min_cue_s=st.floats(0, 0.5),
    max_cps=st.floats(1, 40),
    cue_per_line=st.booleans(),
)


@st.composite
def recordings(draw):
    words, at = [], 0
    for text in draw(st.lists(some_texts, min_size=1, max_size=25)):
        at += draw(st.sampled_from([0, 0, 0, 40, 300, 900]))
        end = at + draw(st.sampled_from([0, 80, 240, 560]))
        place = {"no_space_before": draw(st.booleans()), "begins_line": draw(st.booleans())}
        words.append(TimedWord(text=text, word="x", start_time_ms=at, end_time_ms=end, confidence=1, **place))
        at = end
    duration_s = (at + draw(st.integers(0, 3000))) / 1000
    language = draw(st.sampled_from(["English", "Chinese", None]))
    return TimedFile(audio="a.wav", language=language, duration_s=max(duration_s, 0.3), words=words)


@given(recordings(), some_limits)
def test_no_word_is_lost_and_cues_keep_order_limits_and_audio(file, options):
    limits = limits_of(options, language_code(file.language, "".join(word.text for word in file.words)))
    cues = make_cues(file, options, MILLISECOND_NS)
    words = [word for cue in cues for line in cue.lines for word in line]
    assert [word.text for word in words] == [word.one_line for word in file.words]
    assert [(word.start_ms, word.end_ms) for word in words] == [(word.start_ms, word.end_ms) for word in spans(file)]
    assert all(cue.end_ms <= after.start_ms + ROUNDING_MS for cue, after in pairwise(cues))
    assert all(cue.end_ms <= 1000 * file.duration_s + ROUNDING_MS for cue in cues)
    for cue in cues:
        check_cue(cue, options, limits)


def check_cue(cue: Cue, options, limits):
    flat: list[Span] = [word for line in cue.lines for word in line]
    assert cue.start_ms == flat[0].start_ms
    assert cue.end_ms >= flat[-1].end_ms - ROUNDING_MS
    assert options.cue_per_line or len(cue.lines) <= limits.lines or len(flat) == 1
    assert all(limits.cue_width(line) <= limits.line_chars or len(line) == 1 for line in cue.lines)
    if len(flat) > 1 and not options.cue_per_line:
        assert flat[-1].end_ms - flat[0].start_ms <= limits.longest_ms
        pauses = [after.start_ms - word.end_ms for word, after in pairwise(flat)]
        assert max(pauses) <= limits.pause_ms


@given(recordings(), some_limits)
def test_a_cue_is_long_enough_wherever_there_is_room(file, options):
    limits = limits_of(options, language_code(file.language, "".join(word.text for word in file.words)))
    cues = make_cues(file, options, MILLISECOND_NS)
    last_ms = file.ticks(MILLISECOND_NS)
    nexts_ms = starts_after([[word for line in cue.lines for word in line] for cue in cues], last_ms)
    for cue, next_ms in zip(cues, nexts_ms, strict=True):
        flat = [word for line in cue.lines for word in line]
        wanted_ms = min(max(limits.least_ms, 1000 * limits.cue_width(flat) / limits.chars_per_s), limits.longest_ms)
        assert cue.end_ms - cue.start_ms >= min(wanted_ms, next_ms - GAP_MS - cue.start_ms) - ROUNDING_MS


@given(recordings(), some_limits, st.sampled_from(["srt", "vtt", "ass"]), st.booleans())
def test_another_program_reads_the_same_cues(file, options, kind, karaoke):
    content = FORMATS[kind].write(file, replace(options, karaoke=karaoke and kind == "ass"))
    events = pysubs2.SSAFile.from_string(content, format_=kind).events
    tick_ns = 10 * MILLISECOND_NS if kind == "ass" else MILLISECOND_NS
    cues = make_cues(file, options, tick_ns)
    assert [event.plaintext for event in events] == ["\n".join(map(join_words, cue.lines)) for cue in cues]
    assert [(event.start, event.end) for event in events] == [(round(c.start_ms), round(c.end_ms)) for c in cues]
