"""Shared fixtures: the demo aligner, its packages and its reference are made once for all tests."""

import os
import shutil
import socket
import subprocess

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: with more threads each waits for the others
    os.environ["OMP_NUM_THREADS"] = "1"

from forced_aligner.base.console import quiet_libraries
from forced_aligner.base.paths import DEMO_FOLDER, REFERENCE_FILE

quiet_libraries()  # before torch, transformers and coremltools, which the fixtures import: a room may need none of them

FLOAT16_LENGTHS = (256, 768)  # the longest demo clip has 747 tokens
FLOAT16_FRAMES = (78, 208)
DECODER_LENGTHS = (256, 640, 1024)  # 640 has two query blocks of 320
COMPACT_FRAMES = (52, 117, 221)  # 4, 9 and 17 chunks: the last function holds two windows and a chunk of padding
AUDIO_FRAMES = (52, 104, 256)  # half a window, one, and two with room for padding


def pytest_collection_modifyitems(items):
    """What takes longest comes first, so that no worker is left alone with it."""
    items.sort(key=lambda item: "shells" not in item.path.parts)


# Few examples in CI; HYPOTHESIS_PROFILE=long looks longer.
settings.register_profile("short", max_examples=30, deadline=None, derandomize=True)
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Tests run offline: a connection to anywhere but this machine is an error."""
    connect = socket.socket.connect

    def local_only(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "localhost"):
            raise OSError(f"a test asked for {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local_only)


@pytest.fixture
def empty_hub(tmp_path_factory, monkeypatch):
    """An empty cache, whose folder this is, and a hub that refuses connections."""
    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    return cache


@pytest.fixture
def mount(tmp_path):
    """Mounts an empty file system below `tmp_path`; root writes where permissions forbid it, but not beyond these."""
    places = []

    def mount_tmpfs(options):
        place = tmp_path / f"disk-{len(places)}"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place]
        mounted = subprocess.run(command, capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip(f"cannot mount a tmpfs here: {mounted.stderr.decode().strip()}")
        places.append(place)
        return place

    yield mount_tmpfs
    for place in places:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def caseless_disk(tmp_path):
    """A folder where names that differ in case are one: on macOS any, elsewhere on a new FAT disk."""
    (tmp_path / "case").touch()
    if (tmp_path / "CASE").exists():
        yield tmp_path
        return
    image, place = tmp_path / "image", tmp_path / "disk"
    place.mkdir()
    image.write_bytes(bytes(8 << 20))
    for command in (["mkfs.vfat", image], ["mount", "-o", "loop", image, place]):
        if shutil.which(command[0]) is None:
            pytest.skip(f"no disk without cases: there is no {command[0]} here")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"no disk without cases: {command[0]} fails here ({done.stderr.splitlines()[0]})")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.fixture
def small_disk(mount):
    """A file system of 1 MB."""
    return mount("size=1m")


@pytest.fixture
def read_only(mount):
    """A file system that nobody can write."""
    return mount("ro")


def random_config(**changes):
    """A small config of odd sizes, none of which is the demo's or the full model's."""
    from transformers import Qwen3ASRConfig

    return Qwen3ASRConfig(
        audio_config={
            "model_type": "qwen3_asr_encoder",
            "num_mel_bins": 128,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 64,
            "d_model": 32,
            "downsample_hidden_size": 8,
            "output_dim": 48,
        },
        text_config={
            "model_type": "qwen3",
            "hidden_size": 48,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "vocab_size": 300,
            "max_position_embeddings": 8192,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "tie_word_embeddings": False,
            "pad_token_id": 256,
        },
        **{"num_labels": 70, "audio_token_id": 259, "timestamp_token_id": 260, "pad_token_id": 256, **changes},
        tie_word_embeddings=False,
    )


@pytest.fixture(scope="session")
def random_model():
    """A random model whose activations are large enough for an error to show."""
    import torch
    from transformers import Qwen3ASRForTokenClassification

    torch.manual_seed(0)
    model = Qwen3ASRForTokenClassification(random_config()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(
                noise * 1.5 / parameter[0].numel() ** 0.5 if parameter.dim() > 1 else parameter + noise * 0.2
            )
    return model


@pytest.fixture(scope="session")
def demo_checkpoint():
    from forced_aligner.checkpoint.find import find_checkpoint

    return find_checkpoint("demo")


@pytest.fixture(scope="session")
def demo_model(demo_checkpoint):
    from forced_aligner.checkpoint.weights import load_model

    return load_model(demo_checkpoint)


@pytest.fixture(scope="session")
def merging_tokenizer():
    """The JSON of a tokenizer of the demo's kind with merges, which the demo's has none of."""
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.trainers import BpeTrainer

    corpus = ["it's the lower lowest newer, they're 1234 we'll", "zoë naïve straße l'été d'Été ''quoted'' o'clock"] * 20
    tokenizer = Tokenizer.from_file(str(DEMO_FOLDER / "model/tokenizer.json"))
    tokenizer.model = BPE()
    alphabet = [chr(c) for c in [*range(33, 127), *range(161, 173), *range(174, 324)]]
    tokenizer.train_from_iterator(corpus, BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    return tokenizer.to_str()


@pytest.fixture(scope="session")
def demo_processor(demo_checkpoint):
    from forced_aligner.checkpoint.processor import load_processor

    return load_processor(demo_checkpoint.folder)


@pytest.fixture(scope="session")
def demo_clips():
    from forced_aligner.data.clips import load_clips

    return load_clips("demo", None, is_demo_model=True, language=None)


def converted(checkpoint, folder, *arguments, **options):
    """The bundle that a conversion leaves in `folder`."""
    from forced_aligner.convert.options import Options
    from forced_aligner.jobs.convert import convert
    from forced_aligner.package.bundle import Bundle

    convert(checkpoint, folder, Options(*arguments, **options))
    return Bundle.open(folder)


def converted_once(checkpoint, tmp_path_factory, name, *arguments, **options):
    """The bundle of a conversion that one worker does for all; each has a copy of its own."""
    from filelock import FileLock

    from forced_aligner.package.bundle import Bundle

    own = tmp_path_factory.mktemp("bundle") / name
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return converted(checkpoint, own, *arguments, **options)
    first = tmp_path_factory.getbasetemp().parent / name
    with FileLock(f"{first}.lock"):
        if not first.exists():
            converted(checkpoint, first, *arguments, **options)
    shutil.copytree(first, own)
    return Bundle.open(own)


@pytest.fixture(scope="session")
def demo_bundle(demo_checkpoint, tmp_path_factory):
    """The demo aligner in all six packages, mixed precision."""
    from forced_aligner.package.contract import COMPONENTS_OF

    sizes = (DECODER_LENGTHS, AUDIO_FRAMES)
    return converted_once(demo_checkpoint, tmp_path_factory, "demo", COMPONENTS_OF["five"], *sizes)


@pytest.fixture(scope="session")
def compact_bundle(demo_checkpoint, tmp_path_factory):
    """The demo aligner in the compact layout, in float32."""
    from forced_aligner.package.contract import DEFAULTS_OF

    options = {"layout": "compact", "precision": "float32"}
    sizes = (DECODER_LENGTHS, COMPACT_FRAMES)
    return converted_once(demo_checkpoint, tmp_path_factory, "compact", DEFAULTS_OF["compact"], *sizes, **options)


@pytest.fixture(scope="session")
def bundle_of(request):
    """The bundle that has a component, by its key."""
    from forced_aligner.package.contract import COMPONENTS_OF

    return lambda key: request.getfixturevalue("demo_bundle" if key in COMPONENTS_OF["five"] else "compact_bundle")


@pytest.fixture(scope="session")
def demo_kit(demo_checkpoint, demo_bundle, tmp_path_factory):
    """The folder of the host kit of `demo_bundle`."""
    from forced_aligner.jobs.host_kit import write_kit

    folder = tmp_path_factory.mktemp("kit") / "host"
    write_kit(demo_checkpoint, demo_bundle, folder)
    return folder


@pytest.fixture(autouse=True)
def user_cache(monkeypatch, tmp_path_factory):
    """An empty folder in place of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: folder / name)
    return folder


@pytest.fixture
def core_ml(monkeypatch, tmp_path_factory):
    """A test double of Core ML below coremltools, see `tests/coreml_double`. No figure comes from it."""
    from tests.coreml_double.install import installed

    monkeypatch.setattr("forced_aligner.runtime.options.has_core_ml", lambda: True)
    with installed(monkeypatch, tmp_path_factory.mktemp("compiled")) as double:
        yield double


@pytest.fixture(scope="session")
def float16_bundle(demo_checkpoint, tmp_path_factory):
    """The demo aligner in the five default packages, all in float16."""
    from forced_aligner.package.contract import DEFAULT_COMPONENTS

    folder = tmp_path_factory.mktemp("bundle") / "float16"
    return converted(demo_checkpoint, folder, DEFAULT_COMPONENTS, FLOAT16_LENGTHS, FLOAT16_FRAMES, precision="float16")


@pytest.fixture(scope="session")
def demo_reference_path(demo_checkpoint, demo_clips, tmp_path_factory):
    from forced_aligner.jobs.reference import make_reference

    path = tmp_path_factory.mktemp("reference") / REFERENCE_FILE
    make_reference(demo_checkpoint, demo_clips, path)
    return path


@pytest.fixture(scope="session")
def demo_folder():
    return DEMO_FOLDER
