"""A folder for a model hub: usable as it is, nothing false on its card, and never over something else."""

import dataclasses
import platform
import re
import shutil
import tomllib
from pathlib import Path

import coremltools as ct
import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from forced_aligner.align.audio import load_audio
from forced_aligner.align.chain import Aligner
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import write_whole
from forced_aligner.base.paths import BENCHMARK_PAGE, METADATA_FILE, PARITY_FILE, PARITY_PAGE, ROOT
from forced_aligner.base.records import read_json, write_json
from forced_aligner.base.version import PROJECT
from forced_aligner.checkpoint.find import find_checkpoint
from forced_aligner.jobs.compare import compare
from forced_aligner.jobs.model_card import license_notice, model_card
from forced_aligner.jobs.model_card import text as markdown
from forced_aligner.jobs.places import CARD_FILE, check_hub_folder
from forced_aligner.jobs.publish import lay_out
from forced_aligner.output.own_files import PARITY, generator
from forced_aligner.output.results_page import results_page
from forced_aligner.package.bundle import Bundle
from forced_aligner.package.contract import DEFAULT_COMPONENTS
from forced_aligner.package.provenance import find_provenance
from forced_aligner.runtime.mil.backend import MilBackend
from forced_aligner.score.gate import Gate
from forced_aligner.score.records import ParityReport, Reference

UNMEASURED = (None, "nobody did", None, "nobody did")  # parity and speed
SERVED = ["de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "yue", "zh"]


@pytest.fixture
def source(demo_bundle, tmp_path):
    """A converted folder that nothing was measured of."""
    return shutil.copytree(demo_bundle.folder, tmp_path / "converted")


@pytest.fixture(scope="module")
def report(demo_bundle, demo_reference_path):
    """What `compare` measures of the demo packages, on three clips."""
    known = read_json(Reference, demo_reference_path, "").head(3)
    aligner = Aligner(demo_bundle, MilBackend(demo_bundle))
    return compare(aligner, known, demo_reference_path.parent, Gate())[0]


def lay_out_hub(source, tmp_path, **options):
    folder = tmp_path / "hub"
    lay_out(source, folder, **options)
    return folder, (folder / CARD_FILE).read_text(encoding="utf-8")


def test_a_layout_is_a_model_folder(source, tmp_path, demo_clips):
    (source / "forced_aligner_lm_head.mlpackage/.DS_Store").touch()
    (source / "notes.txt").touch()
    folder, _ = lay_out_hub(source, tmp_path)
    opened = Bundle.open(folder)
    records = opened.metadata.components.values()
    names = {METADATA_FILE, "README.md", "LICENSE", "NOTICE", *opened.metadata.processor_files}
    names |= {record.package for record in records}
    if platform.system() == "Darwin":
        names |= {record.package.replace(".mlpackage", ".mlmodelc") for record in records}
    assert {path.name for path in folder.iterdir()} == names
    assert not list(folder.rglob(".DS_Store"))
    clip = demo_clips[1]
    (first, second) = [
        Aligner(bundle, MilBackend(bundle)).align(load_audio(Path(clip.audio)), clip.transcript).words
        for bundle in (opened, Bundle.open(source))
    ]
    assert first == second


def test_the_demo_card_claims_no_base_model_and_no_parity(source, tmp_path):
    folder, text = lay_out_hub(source, tmp_path)
    data = ModelCard.load(folder / "README.md").data.to_dict()
    assert {key: data[key] for key in ("library_name", "license", "language")} == {
        "library_name": "coreml",
        "license": "apache-2.0",
        "language": ["en"],
    }
    assert "base_model" not in data
    assert "pipeline_tag" not in data
    assert "Parity with PyTorch was not measured" in text
    assert "no weights of Qwen are in it" in text
    assert "Qwen team" not in (folder / "NOTICE").read_text()
    assert "Apache License" in (folder / "LICENSE").read_text()
    for record in Bundle.open(folder).metadata.components.values():
        assert "Qwen" not in ct.utils.load_spec(str(folder / record.package)).description.metadata.author


def test_every_measured_figure_is_the_reports(source, tmp_path, report):
    write_json(report, source / PARITY_FILE)
    folder, text = lay_out_hub(source, tmp_path)
    rows = dict(
        line.strip("| ").split(" | ") for line in text.splitlines() if line.count("|") == 3 and "| |" not in line
    )
    seconds = sum(sample.duration_s for sample in report.samples)
    expected = {
        "files": f"{report.files}, {seconds:.1f} s",
        "boundaries (two a word)": f"{report.boundaries}",
        "moved to another bin": "0",
        "beyond 80 ms, beyond 160 ms": "0, 0",
        "in the same 80 ms bin": "100.00 %",
        "mean error (AAS)": "0.00 ms",
        "largest error": "0 ms",
        "within 20 ms": "100.00 %",
        "within 80 ms": "100.00 %",
        "within 160 ms": "100.00 %",
        "thresholds": "AAS 5 ms, 95 % within 20 ms",
        "files that could not be measured": "0 (by PyTorch: 0)",
        "device": "cpu",
        "measured on": markdown(f"{report.environment.system}, {report.environment.chip}"),
        "mean error against the true times": (
            f"{report.truth_aas_ms.packages:.2f} ms (PyTorch: {report.truth_aas_ms.pytorch:.2f} ms)"
        ),
    }
    assert report.reference.sha256[:12] in rows["reference"]
    assert {name: rows[name] for name in expected} == expected
    assert "not on an Apple" in text
    published = read_json(ParityReport, folder / PARITY_FILE, "")
    assert published.model_copy(update={"samples": report.samples}) == report
    assert [sample.audio for sample in published.samples] == ["clip-01.flac", "clip-02.flac", "clip-03.flac"]


def test_a_missed_threshold_is_on_the_card(source, tmp_path, report, capsys):
    write_json(report.model_copy(update={"passed": False}), source / PARITY_FILE)
    _, text = lay_out_hub(source, tmp_path)
    assert "missed the thresholds" in text
    assert "missed the thresholds" in capsys.readouterr().err


def test_a_report_of_other_packages_is_no_measurement(source, tmp_path, report):
    others = report.package_sha256 | {"lm_head": "0" * 64}
    for digests in (others, {}):
        write_json(report.model_copy(update={"package_sha256": digests}), source / PARITY_FILE)
        folder, text = lay_out_hub(source, tmp_path)
        assert "Parity with PyTorch was not measured" in text
        assert not (folder / PARITY_FILE).exists()


def test_the_table_is_what_the_packages_say(source, tmp_path):
    """Shapes and types from the saved specs, which the table is not made of."""
    folder, text = lay_out_hub(source, tmp_path)
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `forced_aligner")}
    metadata = Bundle.open(folder).metadata
    assert len(rows) == len(metadata.components) == 6
    for record in metadata.components.values():
        row = rows[record.package]
        assert f"| {record.precision} | {record.compression} | {record.size_bytes / 1e6:.2f} MB |" in row
        description = ct.utils.load_spec(str(folder / record.package)).description
        function = description.functions[-1] if description.functions else description
        for feature in (*function.input, *function.output):
            array = feature.type.multiArrayType
            kind = ct.proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name(array.dataType).lower()
            cell = row.split(f"`{feature.name}` ")[1].split("|")[0].split("`")[0].strip(" ,")
            assert cell.endswith(kind)
            flexible = list(array.shapeRange.sizeRanges)
            said = cell[1 : cell.index("]")].split(", ")
            assert bool(array.shape) or "seq" in said  # Core ML infers the shape of a flexible output
            for axis, (name, size) in enumerate(zip(said, array.shape or [], strict=bool(array.shape))):
                if name == "seq":
                    assert (flexible[axis].lowerBound, flexible[axis].upperBound) == (1, metadata.decoder_lengths[-1])
                    assert f"`seq` is from 1 to {metadata.decoder_lengths[-1]}." in text
                elif name == "L":
                    assert size in metadata.decoder_lengths
                elif name == "F":
                    assert size in metadata.audio_frames
                else:
                    assert int(name) == size


@pytest.mark.parametrize(
    ("model_id", "base_model", "named", "license_name", "languages"),
    [
        ("Qwen/Qwen3-ForcedAligner-0.6B", None, "Qwen/Qwen3-ForcedAligner-0.6B", "apache-2.0", SERVED),
        ("Qwen/Qwen3-ForcedAligner-0.6B-hf", None, "Qwen/Qwen3-ForcedAligner-0.6B-hf", "apache-2.0", SERVED),
        ("/models/aligner", "Qwen/Qwen3-ForcedAligner-0.6B", "Qwen/Qwen3-ForcedAligner-0.6B", "apache-2.0", SERVED),
        ("/models/aligner", None, None, None, None),
        ("somebody/tuned-aligner", None, "somebody/tuned-aligner", None, None),
    ],
)  # fmt: skip
def test_the_front_matter_says_what_is_known_and_no_more(
    demo_bundle, model_id, base_model, named, license_name, languages
):
    metadata = demo_bundle.metadata.model_copy(update={"model_id": model_id})
    origin = find_provenance(model_id, base_model)
    text = model_card(origin, metadata, *UNMEASURED, is_compiled=False)
    data = ModelCard(text).data.to_dict()
    assert data.get("base_model") == named
    assert data.get("license") == license_name
    assert sorted(data["language"]) == languages if languages else "language" not in data
    assert ("Japanese" in text) == bool(languages)
    assert "demo" not in text.lower()
    assert "/models" not in text
    notice = license_notice(origin, metadata)
    assert ("Apache License 2.0" in notice) == (license_name is not None)
    assert named is None or named in notice


def test_a_relative_folder_is_not_taken_for_a_hub_id(tmp_path, monkeypatch):
    (tmp_path / "models/aligner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert find_provenance("models/aligner", None).base_model is None


def test_a_base_model_must_be_a_hub_id_and_not_the_demos():
    with pytest.raises(UserError, match="--base-model takes a hub id such as Qwen/"):
        find_provenance("/models/aligner", "no hub id")
    with pytest.raises(UserError, match="the demo aligner has no base model"):
        find_provenance("demo", "Qwen/Qwen3-ForcedAligner-0.6B")


HOSTILE = "a|b`c [x](javascript:alert(1)) <script>\n---\n# _d_ \x1b[31m"


def test_the_text_of_others_is_only_text_on_the_card(demo_bundle):
    """Names and versions are read from a file that may be anybody's."""
    record = demo_bundle.metadata.components["lm_head"].model_copy(update={"package": HOSTILE})
    components = {**demo_bundle.metadata.components, "lm_head": record}
    changes = {"model_id": HOSTILE, "compress": HOSTILE, "tool_versions": {HOSTILE: HOSTILE}, "components": components}
    origin = dataclasses.replace(find_provenance("demo", None), title=HOSTILE, is_demo=False)
    metadata = demo_bundle.metadata.model_copy(update=changes)
    card = model_card(origin, metadata, *UNMEASURED, is_compiled=False)
    page = MarkdownIt("commonmark").enable("table").render(card.split("---\n", 2)[2])
    assert "<script>" not in page
    assert 'href="javascript' not in page
    assert "<em>" not in page
    assert page.count("<h1>") == 1
    assert "\x1b" not in card
    plain = model_card(find_provenance("demo", None), demo_bundle.metadata, *UNMEASURED, is_compiled=False)
    assert ModelCard(card).data.to_dict() == ModelCard(plain).data.to_dict()
    rows = [row for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL) if "<td" in row]
    assert {row.count("<td") for row in rows} == {6}


def test_a_layout_is_made_anew_but_nothing_else_is_touched(source, tmp_path, report):
    folder, _ = lay_out_hub(source, tmp_path)
    write_json(report, source / PARITY_FILE)
    _, text = lay_out_hub(source, tmp_path)
    assert "mean error (AAS)" in text
    write_whole(folder / BENCHMARK_PAGE, results_page("benchmark", []))
    write_whole(
        folder / PARITY_PAGE, f'<!doctype html>\n<meta name="generator" content="{generator(PARITY)}">\n<title>'
    )
    lay_out_hub(source, tmp_path)  # what was measured in the laid out folder
    (folder / ".git").mkdir()
    with pytest.raises(UserError, match=r"also holds \.git, which is not of the conversion: choose another"):
        lay_out_hub(source, tmp_path)
    assert (folder / ".git").is_dir()


@pytest.mark.parametrize("kind", ["a file", "an empty folder", "the converted folder"])
def test_another_folder_is_refused_before_and_after_the_conversion(source, tmp_path, kind):
    place = source if kind == "the converted folder" else tmp_path / "place"
    if kind == "a file":
        place.touch()
    elif kind == "an empty folder":
        place.mkdir()
    before = sorted(source.rglob("*"))
    for refuse in (
        lambda: check_hub_folder(place, tmp_path / "m", DEFAULT_COMPONENTS, "demo", None),
        lambda: lay_out(source, place),
    ):
        with pytest.raises(UserError, match=r"is a file|is not a folder that --package made"):
            refuse()
    assert sorted(source.rglob("*")) == before


@pytest.mark.parametrize(
    ("place", "components", "message"),
    [
        ("m", DEFAULT_COMPONENTS, "is the converted folder itself"),
        ("hub", ("audio_conv", "lm_head"), "needs components that can align, not only audio_conv, lm_head"),
    ],
)
def test_what_could_not_be_laid_out_is_refused_before_the_conversion(tmp_path, place, components, message):
    with pytest.raises(UserError, match=message):
        check_hub_folder(tmp_path / place, tmp_path / "m", components, "demo", None)


def test_a_monolithic_card_says_nothing_of_the_audio_transformer(demo_bundle):
    records = {k: v for k, v in demo_bundle.metadata.components.items() if k not in ("audio_conv", "audio_transformer")}
    metadata = demo_bundle.metadata.model_copy(update={"components": records})
    text = model_card(find_provenance("demo", None), metadata, *UNMEASURED, is_compiled=False)
    assert "frames_" not in text
    assert "F is" not in text
    assert "less accurate" in text


def test_a_local_folders_path_is_not_published(random_model, tmp_path):
    """Its name alone is in the metadata and in the packages, and neither author nor licence is made up."""
    random_model.save_pretrained(tmp_path / "secret" / "aligner")
    found = find_checkpoint(str(tmp_path / "secret" / "aligner"))
    assert found.model_id == "./aligner"
    origin = find_provenance(found.model_id, None)
    assert (origin.base_model, origin.license, origin.author) == (None, None, "converted by qwen3-forcedaligner-coreml")
    assert origin.license_name == "that of the checkpoint"


def test_a_damaged_folder_is_not_published(source, tmp_path):
    (source / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="is missing or damaged"):
        lay_out_hub(source, tmp_path)
    assert not (tmp_path / "hub").exists()


def test_a_folder_that_cannot_align_is_not_published(source, tmp_path):
    metadata = Bundle.open(source).metadata
    components = {key: record for key, record in metadata.components.items() if key != "lm_head"}
    write_json(metadata.model_copy(update={"components": components}).sealed(), source / METADATA_FILE)
    with pytest.raises(UserError, match="has no lm_head"):
        lay_out_hub(source, tmp_path)


@pytest.mark.skipif(platform.system() == "Darwin", reason="macOS compiles")
def test_off_macos_the_log_says_what_was_left_out_and_how_to_upload(source, tmp_path, capsys):
    folder, text = lay_out_hub(source, tmp_path)
    said = capsys.readouterr().err
    assert "left out: .mlmodelc, since Core ML's compiler is on macOS only" in said
    assert f"hf upload <user>/<name> {folder}" in said
    assert ".mlmodelc" not in text


def test_the_project_is_named_as_in_its_pyproject():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["name"] == PROJECT
