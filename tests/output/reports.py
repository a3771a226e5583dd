"""Pages of made-up results for the tests, with texts and names that try to do harm."""

from dataclasses import replace

import numpy as np

from forced_aligner.align.audio import SAMPLE_RATE_HZ
from forced_aligner.base.result_table import ResultTable
from forced_aligner.data.records import WordTime
from forced_aligner.jobs.recording_picture import spectrogram_of
from forced_aligner.output.mel_tiles import mel_tiles
from forced_aligner.output.page_audio import embedded_audio
from forced_aligner.output.parity_page import PACKAGES, PYTORCH, TRUTH, Excerpt, Report, Spot, parity_page

HOSTILE = [
    "<script>window.harm = 1</script>", "</script><script>window.harm = 1</script>", "<img src=x onerror='harm=1'>",
    '"quoted"', "it's", "<!--", "-->", "&lt;b&gt;", "{{ 7*7 }}", "\u202etxet", "a\x1b[31m", "شكرا", "你好，",
]  # fmt: skip
ROWS = [["b", "9", "100.00"], ["a", "80", "99.50"], ["c", "1,000", "NOT FINITE"]]


def words(texts, shift_ms=0.0, each_ms=400.0):
    return [
        WordTime(text=text, start_time_ms=10_000 + each_ms * n + shift_ms, end_time_ms=10_000 + each_ms * (n + 1))
        for n, text in enumerate(texts)
    ]


def excerpt(texts, start_s=10.0, duration_s=4.0):
    """An excerpt that hums; the packages have each start 160 ms later than PyTorch, and the truth is 40 ms earlier."""
    samples = 0.1 * np.sin(2 * np.pi * 300 * np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)
    samples = samples.astype(np.float32)
    sides = {PACKAGES: words(texts, 160), PYTORCH: words(texts), TRUTH: words(texts, -40)}
    (mel,) = mel_tiles(spectrogram_of(samples))
    return Excerpt(start_s, duration_s, mel, embedded_audio(samples, SAMPLE_RATE_HZ), sides)


def spot(index, text="word", file="talk.wav", excerpt=0):
    times_ms = {PACKAGES: 10_160 + 400.0 * index, PYTORCH: 10_000 + 400.0 * index, TRUTH: 9_960 + 400.0 * index}
    return Spot(file, text, index, "start", times_ms, excerpt)


REPORT = Report(
    title="demo: packages against PyTorch",
    verdict="FAILED: 9 of 100 boundaries moved",
    passed=False,
    thresholds=[("within 20 ms", "91.00 %", "at least 95 %", "MISSED")],
    files=ResultTable("files", ["file", "moved", "bin-exact %"], ROWS, total=["all", "1", "2"]),
    failed=[],
    facts=[("model", "demo")],
    counts={-3: 0, -2: 0, -1: 1, 0: 91, 1: 6, 2: 2, 3: 0},
    step_ms=80.0,
)


def report_page(texts=("one", "two", "three", "four"), moved=9, **changes):
    spots = [spot(index, text) for index, text in enumerate(texts)]
    return parity_page(replace(REPORT, **changes), spots, [excerpt(texts)], moved)


def hostile_page():
    text = " ".join(HOSTILE)
    spots = [spot(index, text, file=text) for index, text in enumerate(HOSTILE)]
    table = ResultTable(text, [text, text], [[text, text]], total=[text, text])
    report = replace(REPORT, title=text, verdict=text, failed=[(text, text)], facts=[("model", text)], files=table)
    return parity_page(report, spots, [excerpt(HOSTILE)], len(spots))
