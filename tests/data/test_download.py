"""LibriSpeech from a local server: downloads are resumed, checked and unpacked whole; errors are one sentence."""

import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forced_aligner.base.errors import UserError
from forced_aligner.data import librispeech
from forced_aligner.data.clips import load_clips
from forced_aligner.data.download import CHUNK_BYTES
from forced_aligner.data.librispeech import ARCHIVES, find_subset

SUBSET = "dev-other"
CHAPTER = f"LibriSpeech/{SUBSET}/116/288045"
DEADLINE_S = 10
UTTERANCE = "116-288045-0000"


def archive(files, links=()):
    """A tar.gz of the given names and contents, and of links with their targets."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, target in links:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def content(demo_clips):
    """An archive like LibriSpeech's, with one utterance."""
    return archive(
        {
            "LibriSpeech/LICENSE.TXT": b"CC BY 4.0",
            f"{CHAPTER}/116-288045.trans.txt": f"{UTTERANCE} ONE WORD\n".encode(),
            f"{CHAPTER}/{UTTERANCE}.flac": Path(demo_clips[9].audio).read_bytes(),
        }
    )


class Server(ThreadingHTTPServer):
    """Serves `content` under every path.

    Attributes:
        ranges: the `Range` header of each request.
        has_ranges: whether the server supports them.
        breaks_at: the connection ends once after this number of bytes.
        status: sent instead of the right one.
        length: sent as `Content-Length` instead of the right one.
        may_end: the connection stays open until this is set.
    """

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.ranges, self.has_ranges, self.breaks_at, self.status = content, [], True, None, None
        self.length, self.may_end = None, threading.Event()
        self.may_end.set()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        requested = self.headers.get("Range")
        self.server.ranges.append(requested)
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and self.server.has_ranges else 0
        answer = self.server.content[start:]
        self.send_response(self.server.status or (200 if not start else 206 if answer else 416))
        self.send_header("Content-Length", self.server.length or str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[: self.server.breaks_at])
        self.server.may_end.wait(DEADLINE_S)
        self.server.breaks_at = None

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(content, monkeypatch):
    local_server = Server(content)
    thread = threading.Thread(target=local_server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(
        "forced_aligner.data.librispeech.BASE_URL", f"http://127.0.0.1:{local_server.server_port}/resources/12/"
    )
    publish(monkeypatch, content)
    yield local_server
    local_server.shutdown()
    local_server.server_close()
    thread.join()


def publish(monkeypatch, content):
    """Makes the checksum of `content` the published one."""
    monkeypatch.setitem(ARCHIVES, SUBSET, hashlib.md5(content).hexdigest())


def load(folder):
    return load_clips("librispeech", folder, is_demo_model=True, language=None, subset=SUBSET, download=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_subset_is_downloaded_once_and_unpacked(server, tmp_path, capsys):
    (clip,) = load(tmp_path)
    assert clip.audio == str(tmp_path / CHAPTER / f"{UTTERANCE}.flac")
    assert (clip.transcript, clip.language) == ("ONE WORD", "English")
    assert names(tmp_path / "LibriSpeech") == [
        "LICENSE.TXT",
        SUBSET,
    ]  # neither the archive nor a partial folder remains
    assert capsys.readouterr().err.splitlines()[0].startswith(f"downloading {librispeech.BASE_URL}{SUBSET}.tar.gz to")
    assert load(tmp_path) == [clip]
    assert server.ranges == [None]


def test_without_a_folder_it_goes_to_the_first_search_folder(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (None, tmp_path / "data", tmp_path / "data/LibriSpeech"):
        (clip,) = load(folder)
        assert Path(clip.audio).samefile(tmp_path / "data" / CHAPTER / f"{UTTERANCE}.flac")
    assert len(server.ranges) == 1


def test_a_broken_download_goes_on_where_it_stopped(server, content, tmp_path):
    server.breaks_at = len(content) // 2
    with pytest.raises(UserError, match=r"the connection broke after 0\.\d MB\): run the same command again to go on"):
        load(tmp_path)
    received = (tmp_path / f"LibriSpeech/{SUBSET}.tar.gz.part").read_bytes()
    assert len(content) // 2 - CHUNK_BYTES < len(received) <= len(content) // 2
    assert received == content[: len(received)] != b""
    assert find_subset(SUBSET, tmp_path) is None
    assert len(load(tmp_path)) == 1
    assert server.ranges == [None, f"bytes={len(received)}-"]


def test_a_server_without_ranges_starts_again(server, content, tmp_path):
    server.breaks_at = len(content) // 2
    with pytest.raises(UserError):
        load(tmp_path)
    server.has_ranges = False
    assert len(load(tmp_path)) == 1


def test_a_complete_part_file_is_used_without_downloading_again(server, content, tmp_path):
    (tmp_path / "LibriSpeech").mkdir()
    (tmp_path / f"LibriSpeech/{SUBSET}.tar.gz.part").write_bytes(content)
    assert len(load(tmp_path)) == 1


def test_a_wrong_checksum_leaves_nothing_and_the_next_run_starts_anew(server, content, tmp_path):
    server.content = content[:-1] + b"?"
    with pytest.raises(UserError, match="came with another checksum than is published"):
        load(tmp_path)
    assert names(tmp_path / "LibriSpeech") == []
    server.content = content
    assert len(load(tmp_path)) == 1
    assert server.ranges == [None, None]


def test_an_archive_put_there_by_hand_needs_no_network(server, content, tmp_path):
    (tmp_path / "LibriSpeech").mkdir()
    (tmp_path / f"LibriSpeech/{SUBSET}.tar.gz").write_bytes(content)
    assert len(load(tmp_path)) == 1
    assert server.ranges == []


def test_offline_is_one_sentence_with_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setattr("forced_aligner.data.librispeech.BASE_URL", "http://127.0.0.1:9/")
    with pytest.raises(
        UserError, match=r"\(no connection\): run .*, or put dev-other\.tar\.gz into .* by hand"
    ) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_server_that_falls_silent_is_not_reported_as_no_connection(server, content, monkeypatch, tmp_path):
    monkeypatch.setattr("forced_aligner.data.download.TIMEOUT_S", 0.2)
    server.breaks_at = len(content) // 2
    server.may_end.clear()
    with pytest.raises(UserError, match=r"nothing came for 0\.2 s.*: run the same command again to go on"):
        load(tmp_path)
    server.may_end.set()


def test_a_length_that_is_no_number_is_not_reported_as_a_wrong_checksum(server, tmp_path):
    server.length = "many"
    assert len(load(tmp_path)) == 1


def test_an_answer_that_cannot_be_read_is_reported(server, tmp_path):
    server.length = "5, 6"
    with pytest.raises(UserError, match="its answer cannot be read"):
        load(tmp_path)


def test_a_servers_refusal_is_named(server, tmp_path):
    server.status = 503
    with pytest.raises(UserError, match="the server answers 503 Service Unavailable"):
        load(tmp_path)
    assert names(tmp_path / "LibriSpeech") == []


@pytest.mark.parametrize(
    "files",
    [
        {"LibriSpeech/../../outside.txt": b"x", f"{CHAPTER}/a.txt": b"x"},
        {"elsewhere/file.txt": b"x"},
    ],
)
def test_an_archive_that_is_not_librispeechs_leaves_no_folder(server, files, monkeypatch, tmp_path):
    server.content = archive(files)
    publish(monkeypatch, server.content)
    with pytest.raises(UserError, match="cannot unpack"):
        load(tmp_path / "in")
    assert names(tmp_path / "in/LibriSpeech") == [f"{SUBSET}.tar.gz"]
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("links", "files"),
    [
        ([("LibriSpeech", ".")], {}),
        ([("LibriSpeech", ".")], {f"{SUBSET}/116/288045/a.txt": b"x"}),
        ([(f"LibriSpeech/{SUBSET}", "elsewhere")], {"LibriSpeech/elsewhere/a.txt": b"x"}),
    ],
)
def test_a_link_in_place_of_the_subset_is_refused(server, links, files, monkeypatch, tmp_path):
    server.content = archive(files, links)
    publish(monkeypatch, server.content)
    with pytest.raises(
        UserError, match=r"cannot unpack .*in it is a link, not a folder or a file\): .* remove the arch"
    ):
        load(tmp_path)
    assert names(tmp_path / "LibriSpeech") == [f"{SUBSET}.tar.gz"]


def test_a_link_further_down_is_kept(server, content, monkeypatch, tmp_path):
    files = {f"{CHAPTER}/116-288045.trans.txt": f"{UTTERANCE} ONE\n".encode(), f"{CHAPTER}/first.flac": b"x"}
    server.content = archive(files, [(f"{CHAPTER}/{UTTERANCE}.flac", "first.flac")])
    publish(monkeypatch, server.content)
    (clip,) = load(tmp_path)
    assert Path(clip.audio).read_bytes() == b"x"


def test_a_damaged_archive_is_never_used(server, content, monkeypatch, tmp_path):
    server.content = content[: len(content) // 2]
    publish(monkeypatch, server.content)
    with pytest.raises(UserError, match="cannot unpack"):
        load(tmp_path)
    assert find_subset(SUBSET, tmp_path) is None


def test_what_a_killed_run_had_unpacked_is_not_used(server, tmp_path):
    leftover = tmp_path / f"LibriSpeech/.{SUBSET}.tar.gz.unpacking"
    (leftover / CHAPTER).mkdir(parents=True)
    (leftover / CHAPTER / "116-288045.trans.txt").write_text("HALF")
    assert find_subset(SUBSET, tmp_path) is None
    (clip,) = load(tmp_path)
    assert clip.transcript == "ONE WORD"
    assert not leftover.exists()


def test_a_folder_that_cannot_be_written_is_reported_before_the_download(server, tmp_path):
    (tmp_path / "LibriSpeech").touch()
    with pytest.raises(UserError, match="cannot write"):
        load(tmp_path)
    assert server.ranges == []


def test_an_unknown_subset_is_refused_with_the_list(tmp_path):
    with pytest.raises(UserError, match="no subset 'dev-clear'; expected one of dev-clean, dev-other, test-clean"):
        load_clips("librispeech", tmp_path, is_demo_model=True, language=None, subset="dev-clear")


@pytest.mark.parametrize("options", [{"subset": "dev-clean"}, {"download": True}])
@pytest.mark.parametrize("dataset", ["demo", "auto", "."])
def test_librispeechs_options_need_librispeech(dataset, options):
    with pytest.raises(UserError, match="need --dataset librispeech"):
        load_clips(dataset, None, is_demo_model=True, language=None, **options)
