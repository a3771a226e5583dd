"""What is not spoken: the rules find it, and leave what may be spoken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forced_aligner.data.spoken import has_words, spoken_text


def unspoken(text):
    return [(mark.kind, text[mark.start : mark.end]) for mark in spoken_text(text).marks]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ANNA: Hello.\nDR. SMITH: Yes.", [("label", "ANNA:"), ("label", "DR. SMITH:")]),
        ("MAN #2: Yes, it is.", [("label", "MAN #2:")]),
        (">> REPORTER: Now, then.", [("label", ">> REPORTER:")]),
        ("*CHI:\tI want a cookie .\n*MOT:\tno .", [("label", "*CHI:"), ("label", "*MOT:")]),
        ("**Anna:** One.\n**Anna:** Two.", [("label", "**Anna:**")] * 2),
        ("Anna Smith: One.\r\nTwo.\r\nAnna Smith: Three.", [("label", "Anna Smith:")] * 2),
        ("Speaker 1: Only once.", [("label", "Speaker 1:")]),
        ("ANNA (quietly): No.", [("label", "ANNA (quietly):")]),
        ("Yes [laughs], no [door slams].", [("direction", "[laughs]"), ("direction", "[door slams]")]),
        ("<noise> yes {cough}", [("direction", "<noise>"), ("direction", "{cough}")]),
        ("So (applause) we won (audience laughs).", [("direction", "(applause)"), ("direction", "(audience laughs)")]),
        ("你好（笑）", [("direction", "（笑）")]),
        ("[00:01:23] ANNA: [laughs] Yes, I do.",
         [("direction", "[00:01:23]"), ("label", "ANNA:"), ("direction", "[laughs]")]),
        ("00:01:23 Speaker A: yes (1:24)",
         [("number", "00:01:23"), ("label", "Speaker A:"), ("direction", "(1:24)")]),
        ("# The fall\nIt fell.", [("heading", "# The fall")]),
        ("The fall\n========\nIt fell.", [("heading", "The fall\n========")]),
        ("1  It fell,\n2  and rose,\n3  and fell.", [("number", "1"), ("number", "2"), ("number", "3")]),
        ("24. It fell,\n25. and rose,\n1. and fell.", [("number", "24."), ("number", "25."), ("number", "1.")]),
    ],
)  # fmt: skip
def test_what_is_not_spoken_is_found(text, expected):
    assert unspoken(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Remember: never give up.\nNote: it is late.",  # no two of them are the same
        "HE SAID: NO\nAND LEFT",  # no small letters to tell a name by
        "CHAPTER 1: The Fall\nIt fell.",
        "At 10:30 we left.\n10:30 was late.",
        "I told her: go.\nI told her: stay.",
        "http://example.com\nhttp://example.com",
        "The agency (NASA) paid (I love music) for it (as I said).",
        "[H]e walk[ed] home.",
        "a < b and c > d, x[i], [ ]",
        "He had [ no idea ] at all.",
        "An open [bracket, and a\nclosed] one.",
        "1984 was cold.\n1985 was not.",
        "1 is odd.\n3 is odd.\n5 is odd.",
        "Two of\n2 them\n3 more",
        "#1 in the charts",
        "♪ We all live here ♪",
        "He said—“well, (Yes)—”",
    ],
)
def test_what_may_be_spoken_stays(text):
    assert unspoken(text) == []


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("replied—“well,”", "replied “well,”"),
        ("what--no...never…ever", "what  no   never ever"),
        ("1939–1945, well-known", "1939 1945, well-known"),
        ("we’re ‘dogs’ l’homme", "we're ‘dogs’ l'homme"),
        ("不——好……吧", "不——好……吧"),
        ("ANNA: we’re [laughs] off", "      we're          off"),
    ],
)
def test_the_aligner_gets_words_as_people_read_them_each_in_its_place(text, spoken):
    assert spoken_text(text).text == spoken


def test_all_is_spoken_where_the_user_says_so():
    assert spoken_text("ANNA: yes—no [laughs]", keep_brackets=True).text == "ANNA: yes no [laughs]"


@given(
    st.lists(
        st.sampled_from(["ANNA", "Bob", ":", " ", "\n", "[", "]", "(", ")", "laughs", "1", "#", "===", "—", "’", "\r"])
    )
)
def test_nothing_moves_and_nothing_else_is_lost(parts):
    text = "".join(parts)
    spoken = spoken_text(text)
    assert len(spoken.text) == len(text)
    ends = [0, *(edge for mark in spoken.marks for edge in (mark.start, mark.end))]
    assert ends == sorted(ends)
    inside = {at for mark in spoken.marks for at in range(mark.start, mark.end)}
    letters = [at for at, letter in enumerate(text) if letter.isalnum()]
    assert [at for at in letters if spoken.text[at] != text[at]] == [at for at in letters if at in inside]
    assert has_words(spoken.text) == any(at not in inside for at in letters)
