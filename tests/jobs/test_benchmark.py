"""The benchmark measures what it says: every function, whole clips, in turns, and what fails stops nothing else."""

import html
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from forced_aligner.align.audio import SAMPLE_RATE_HZ, load_audio
from forced_aligner.base.errors import UserError
from forced_aligner.base.paths import BENCHMARK_FILE, BENCHMARK_PAGE, BENCHMARK_PICTURE, PARITY_PAGE
from forced_aligner.base.records import read_json, write_json
from forced_aligner.jobs.benchmark.clips import demo_clips as exact_clips
from forced_aligner.jobs.benchmark.clips import joined
from forced_aligner.jobs.benchmark.memory import MemoryGrowth, peak_memory_bytes
from forced_aligner.jobs.benchmark.options import CLIP_LENGTHS_S, BenchmarkOptions, runtimes
from forced_aligner.jobs.benchmark.probe import inputs_of_size
from forced_aligner.jobs.benchmark.run import benchmark, benchmark_and_write, require_all, with_plans
from forced_aligner.jobs.benchmark.tables import benchmark_notes, benchmark_page, benchmark_tables, print_benchmark
from forced_aligner.jobs.places import refuse_or_replace
from forced_aligner.jobs.publish import CARD_FILE, lay_out
from forced_aligner.output.benchmark_picture import StageBar, plot_stages
from forced_aligner.output.own_files import is_own_picture
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.compute_plan import NOT_SAID
from forced_aligner.runtime.measurements import BenchmarkReport, DeviceShare, FunctionPlan, OffNeuralEngine
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.runtime.wrapped import WrappedBackend
from tests.output.reports import report_page

ROUNDS, CALLS = 2, 2
NO_WORD_S, CLIP_S = 0.2, 5.0  # in the first 0.2 s of the longest demo clip no word ends
REFUSED = ("audio_transformer", "frames_256")
IN_TURNS = ("audio_transformer", "frames_52")  # no clip needs it: 5 s are 65 frames


class Witness(WrappedBackend):
    """A backend with a list of what is asked of it; `refused` cannot be loaded."""

    def __init__(self, backend, name, events, refused=None):
        super().__init__(backend)
        self.computes_on, self.events, self.refused = name, events, refused

    def note(self, what, component, function):
        self.events.append((self.computes_on, what, (component, function)))

    def load(self, component, function):
        self.note("load", component, function)
        if (component, function) == self.refused:
            raise UserError("no room on this unit")
        super().load(component, function)

    def unload(self, component, function):
        self.note("unload", component, function)
        super().unload(component, function)

    def predict(self, component, function, inputs):
        self.note("call", component, function)
        return super().predict(component, function, inputs)


@pytest.fixture(scope="module")
def bundle(demo_bundle):
    """The demo packages with the shortest decoder alone."""
    components = dict(demo_bundle.metadata.components)
    components["decoder_prefill"] = components["decoder_prefill"].model_copy(update={"functions": {"length_256": 256}})
    return Bundle(demo_bundle.folder, demo_bundle.metadata.model_copy(update={"components": components}))


@pytest.fixture(scope="module")
def measured(bundle):
    """The report on two backends, one of which refuses a function, and what was asked of them."""
    events, runtime = [], MilBackend(bundle)  # one for both: what it has loaded is loaded for both, which saves time
    backends = [Witness(runtime, "one", events), Witness(runtime, "two", events, REFUSED)]
    options = BenchmarkOptions(ROUNDS, CALLS, clip_lengths_s=(NO_WORD_S, CLIP_S))
    return benchmark(bundle, backends, options), events


@pytest.fixture(scope="module")
def report(measured):
    return measured[0]


def test_every_function_of_every_package_has_a_row_on_every_backend(report, bundle):
    functions = {
        (component, function, size)
        for component, record in bundle.metadata.components.items()
        for function, size in record.functions.items()
    }
    rows = [(row.component, row.function, row.size, row.computes_on) for row in report.functions]
    expected = {(*function, unit) for function in functions for unit in ("one", "two")} - {(*REFUSED, 256, "two")}
    assert len(rows) == len(expected)
    assert set(rows) == expected
    packages = Counter(package.component for package in report.packages)
    assert packages == dict.fromkeys(bundle.metadata.components, 1)


def test_the_calls_are_those_asked_for_and_the_percentile_is_above_the_median(report):
    for row in report.functions:
        assert row.calls == ROUNDS * CALLS
        assert 0 < row.median_ms <= row.p95_ms
        assert min(row.first_load_ms, row.first_call_ms, row.load_ms) > 0
        assert row.memory_growth_bytes >= 0


def test_backends_take_turns_call_by_call(measured):
    _, events = measured
    first_use = [(unit, what) for unit in ("one", "two") for what in ("load", "call", "unload")]
    loaded = [(unit, what) for unit in ("one", "two") for what in ("load", "call")]
    one_round = [*loaded, *[("one", "call"), ("two", "call")] * CALLS, ("one", "unload"), ("two", "unload")]
    assert [(unit, what) for unit, what, which in events if which == IN_TURNS] == [*first_use, *one_round * ROUNDS]


def test_functions_are_let_go_of(measured):
    """One is loaded for its first use, one on each backend in a round, and those of one clip on one backend."""
    loaded, most = set(), Counter()
    for unit, what, which in measured[1]:
        {"load": loaded.add, "unload": loaded.discard}.get(what, lambda key: None)((unit, which))
        most[unit] = max(most[unit], sum(owner == unit for owner, _ in loaded - {("two", REFUSED)}))
    assert loaded <= {("two", REFUSED)}
    assert most == {"one": 5, "two": 5}


def test_the_calls_of_a_clip_are_counted(report):
    """5 s are 500 mel frames, 5 chunks, and 65 audio tokens, one window."""
    once = dict.fromkeys(("audio_transformer", "embedding", "decoder_prefill", "lm_head"), 1)
    for clip in report.clips:
        assert (clip.duration_s, clip.calls) == (CLIP_S, {"audio_conv": 5, **once})
        assert clip.stage_ms.keys() == {"mel", "audio_encoder", "embedding", "decoder", "head"}
        assert clip.real_time_factor == pytest.approx(clip.total_ms / 5000)
    assert [clip.computes_on for clip in report.clips] == ["one", "two"]


def test_what_fails_is_listed_once_and_stops_nothing_else(report, capsys):
    failed = {(failure.what, failure.computes_on): failure.reason for failure in report.failed}
    assert len(report.failed) == len(failed)
    assert failed.pop((" ".join(REFUSED), "two")) == "no room on this unit"
    assert failed.keys() == {("clip of 0.2 s", "one"), ("clip of 0.2 s", "two")}
    assert all("no words" in reason for reason in failed.values())
    with pytest.raises(UserError, match=r"^3 measurements failed, see above; the others are in benchmark\.json$"):
        require_all(report)
    assert "failed: audio_transformer frames_256 on two: no room on this unit" in capsys.readouterr().err


def test_the_report_says_what_it_is_of(report, demo_bundle):
    assert report.package_sha256 == demo_bundle.metadata.package_sha256
    assert (report.environment.backend, report.environment.device) == ("mil", "one, two")
    assert report.threads >= 1
    assert (report.plans, report.no_plan) == ([], [])
    (missing,) = with_plans(report, demo_bundle, [MilBackend(demo_bundle)]).no_plan
    assert (missing.computes_on, missing.reason) == ("cpu", "only Core ML has a compute plan")
    assert report.peak_memory_bytes > 50e6


def test_no_alignment_at_all_is_the_backends_own_sentence(bundle):
    backend = Witness(MilBackend(bundle), "one", [], refused=("audio_conv", "main"))
    with pytest.raises(UserError, match=r"^no room on this unit$"):
        benchmark(bundle, [backend], BenchmarkOptions(1, 1, (CLIP_S,)))


def test_the_tables_show_every_row(report, capsys):
    print_benchmark(report)
    shown = capsys.readouterr().out
    assert shown.count("│ one") + shown.count("│ two") == len(report.functions) + len(report.clips)
    assert "5 + 1 + 1 + 1 + 1" in shown
    assert "calls: audio_conv + audio_transformer + embedding + decoder_prefill + lm_head" in shown
    assert f"peak memory of this process: {report.peak_memory_bytes / 1e6:.0f} MB" in shown


def test_the_plan_shows_shares_and_what_falls_off_and_counts_what_core_ml_does_not_say(report, capsys):
    shares = [
        DeviceShare(device="Neural Engine", ops=3, cost_percent=90),
        DeviceShare(device="CPU", ops=1, cost_percent=10),
    ]
    off = [OffNeuralEngine(kind="ios18.gather", ops=1, names=["rows"])]
    told = FunctionPlan(
        component="lm_head", function="main", computes_on="ALL", ops=4, devices=shares, off_neural_engine=off
    )
    silent = [DeviceShare(device=NOT_SAID, ops=4, cost_percent=None)]
    untold = told.model_copy(update={"function": "length_64", "devices": silent, "off_neural_engine": []})
    print_benchmark(report.model_copy(update={"plans": [told, untold, untold], "no_plan": []}))
    shown = capsys.readouterr().out
    (row,) = [line for line in shown.splitlines() if "ios18.gather" in line]
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["lm_head", "main", "ALL", "1 ios18.gather", "4", "25 (10)", "75 (90)"]
    assert "Core ML says nothing of 2 functions" in shown


@pytest.mark.parametrize("length_s", CLIP_LENGTHS_S)
def test_clips_have_the_exact_length_and_whole_words(demo_clips, length_s):
    (clip,) = exact_clips([length_s])
    assert clip.samples.size == length_s * SAMPLE_RATE_HZ
    longest_first = sorted(demo_clips, key=lambda clip: -clip.duration_s)
    spoken = [word.text for source in longest_first for word in source.alignments]
    assert list(clip.words) == spoken[: len(clip.words)]
    assert np.array_equal(clip.samples[:16000], load_audio(Path(longest_first[0].audio))[:16000])


def test_a_clip_is_cut_after_its_last_whole_word_and_padded(demo_clips):
    """The second demo clip's words end at 0.318, 0.813 and 1.340 s."""
    clip = joined([demo_clips[1]], 1.0)
    assert clip.transcript == "Ain't traction"
    assert clip.samples[: round(0.81 * SAMPLE_RATE_HZ)].any()
    assert not clip.samples[round(0.8129 * SAMPLE_RATE_HZ) :].any()
    again = joined([demo_clips[1]], 1.573 + 0.5)  # longer than all clips: from the first again
    assert again.words == ("Ain't", "traction", "classic", "Ain't")


def test_inputs_of_another_size_are_real_rows_and_a_full_mask(demo_bundle):
    dimensions = demo_bundle.metadata.dimensions
    hidden = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)
    padded = np.pad(hidden, ((0, 0), (0, 5), (0, 0)))
    recorded = {"hidden_states": padded, "position_cos": np.ones((1, 8, 2)), "position_sin": np.ones((1, 8, 2))}
    made = inputs_of_size(recorded, 7, dimensions)
    assert np.array_equal(made["hidden_states"], hidden[:, [0, 1, 2, 0, 1, 2, 0]])
    assert made["position_cos"].shape == (1, 7, dimensions.head_dim)
    mask = inputs_of_size({"attention_mask": np.zeros((1, 1, 4, 4))}, 208, dimensions)["attention_mask"]
    assert [(mask[0, 0, row] == 0).sum() for row in (0, 207)] == [104, 104]


def test_the_growth_of_memory_is_seen_even_where_it_is_freed_again():
    with MemoryGrowth() as memory:
        held = np.ones(8_000_000)  # 64 MB
        del held
    with MemoryGrowth() as nothing:
        pass
    assert memory.growth_bytes > 30e6
    assert nothing.growth_bytes < 10e6
    assert peak_memory_bytes() > memory.growth_bytes


def test_a_runtime_for_each_unit_and_none_of_them_takes_what_was_compiled_before(monkeypatch):
    monkeypatch.setattr("forced_aligner.runtime.options.has_core_ml", lambda: True)
    asked = runtimes("coreml", "cpu", "cpu-and-ne, all,cpu-and-ne")
    assert [options.compute_units for options in asked] == ["all", "cpu-and-ne"]
    assert not any(options.use_cache for options in asked)
    assert [options.compute_units for options in runtimes("auto", "cpu", None)] == [None]


@pytest.fixture
def folder(demo_bundle, tmp_path, report):
    """A converted folder that was measured."""
    folder = shutil.copytree(demo_bundle.folder, tmp_path / "converted")
    write_json(report, folder / BENCHMARK_FILE)
    return folder


def test_nothing_that_the_run_did_not_make_is_replaced(folder, tmp_path):
    for name in (BENCHMARK_FILE, BENCHMARK_PICTURE, BENCHMARK_PAGE):
        (tmp_path / "kept").mkdir(exist_ok=True)
        (tmp_path / "kept" / name).write_text("years of work")
        with pytest.raises(UserError, match="is there already"):
            benchmark_and_write(folder, runtimes("mil", "cpu", None), tmp_path / "kept", BenchmarkOptions())
        assert (tmp_path / "kept" / name).read_text() == "years of work"
        (tmp_path / "kept" / name).unlink()


def test_the_page_has_the_tables_that_are_printed(report, capsys):
    page = benchmark_page(report, b"\x89PNG")
    print_benchmark(report)
    printed = capsys.readouterr().out
    tables = benchmark_tables(report)
    assert len(tables) >= 2
    for table in tables:
        cells = [cell for row in (table.headings, *table.rows) for cell in row if cell]
        assert all(cell in printed and f">{html.escape(cell)}<" in page for cell in cells)
    assert all(note in html.unescape(page) for note in benchmark_notes(report))
    assert page.count("failed: ") == len(report.failed) == 3
    assert "data:image/png;base64," in page


def test_a_measured_folder_can_be_converted_again(folder, report):
    plot_stages([StageBar("5 s", {"mel": 1.0}, "1 ms")], "demo", folder / BENCHMARK_PICTURE)
    (folder / BENCHMARK_PAGE).write_text(benchmark_page(report, None))
    refuse_or_replace(force=True)(folder)
    (folder / PARITY_PAGE).write_text("years of work")
    with pytest.raises(UserError, match=r"also holds parity\.html, which is not of the conversion"):
        refuse_or_replace(force=True)(folder)
    (folder / PARITY_PAGE).write_text(report_page())
    refuse_or_replace(force=True)(folder)
    (folder / BENCHMARK_FILE).write_text("years of work")
    with pytest.raises(UserError, match=r"also holds benchmark\.json, which is not of the conversion"):
        refuse_or_replace(force=True)(folder)


def test_the_card_has_every_row_and_names_no_path(folder, tmp_path, report):
    hostile = report.environment.model_copy(update={"chip": "a|b <script> [x](y)"})
    write_json(report.model_copy(update={"environment": hostile}), folder / BENCHMARK_FILE)
    lay_out(folder, tmp_path / "hub")
    speed = (tmp_path / "hub" / CARD_FILE).read_text().split("## Speed")[1].split("## Limits")[0]
    rows = [line for line in speed.splitlines() if line.startswith("|") and ("| one |" in line or "| two |" in line)]
    assert len(rows) == len(report.functions) + len(report.clips)
    clip = report.clips[0]
    assert f"| {clip.first_ms:.0f} | {clip.total_ms:.0f} | {clip.real_time_factor:.3f} |" in speed
    assert "a\\|b \\<script\\> \\[x\\](y)" in speed
    assert "**not on an Apple device**" in speed
    assert "3 measurements failed" in speed
    published = read_json(BenchmarkReport, tmp_path / "hub" / BENCHMARK_FILE, "")
    assert {failure.reason for failure in published.failed} == {"left out"}
    assert published.functions == report.functions
    lay_out(folder, tmp_path / "hub")  # again: it knows its own file


def test_the_speed_of_other_packages_is_not_on_the_card(folder, tmp_path, report):
    write_json(report.model_copy(update={"package_sha256": {}}), folder / BENCHMARK_FILE)
    lay_out(folder, tmp_path / "hub")
    card = (tmp_path / "hub" / CARD_FILE).read_text()
    assert "**Speed was not measured**, since the benchmark.json beside them is of other packages." in card
    assert not (tmp_path / "hub" / BENCHMARK_FILE).exists()


def test_the_picture_has_a_bar_for_each_stage_of_each_clip(tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "close", lambda figure: None)
    bars = [StageBar("5 s, ALL", {"mel": 1.0, "head": 2.0}, "3 ms"), StageBar("9 s, $CPU$", {"mel": 4.0}, "4 ms")]
    plot_stages(bars, "a $title", tmp_path / BENCHMARK_PICTURE)
    axes = plt.gcf().axes[0]
    assert [[patch.get_width() for patch in bar] for bar in axes.containers] == [[1.0, 4.0], [2.0, 0.0]]
    assert [patch.get_x() for patch in axes.containers[1]] == [1.0, 4.0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["5 s, ALL", "9 s, $CPU$"]
    assert is_own_picture(tmp_path / BENCHMARK_PICTURE)
    monkeypatch.undo()
    plt.close("all")
