"""What a run has computed is not lost when it fails or is killed."""

import json

import pytest

from forced_aligner.base.errors import RunError, UserError
from forced_aligner.base.journal import PREFIX, digest_of, journal_of
from forced_aligner.base.lock import locked
from forced_aligner.base.records import Record


class Result(Record):
    value: int


@pytest.fixture
def output(tmp_path):
    return tmp_path / "reference.json"


def path_of(output):
    return output.with_name("reference.json.journal")


def put(output, *values, **options):
    with journal_of(output, Result, **options) as journal:
        for value in values:
            journal.put(str(value), Result(value=value))


def found(output):
    with journal_of(output, Result) as journal:
        return [value for value in range(10) if journal.get(str(value)) == Result(value=value)]


def test_results_of_an_earlier_run_are_found(output):
    put(output, 1, 2)
    put(output, 3)
    assert found(output) == [1, 2, 3]


def test_a_line_that_a_kill_cut_off_is_dropped_and_the_next_is_whole(output):
    put(output, 1, 2)
    content = path_of(output).read_bytes()
    for length in range(len(PREFIX), len(content)):
        path_of(output).write_bytes(content[:length])
        put(output, 3)
        assert set(found(output)) >= {3}
    path_of(output).write_bytes(content[:-5])
    put(output, 3)
    assert found(output) == [1, 3]


def test_damaged_lines_and_those_of_other_versions_are_no_results(output):
    put(output, 1)
    with path_of(output).open("a") as file:
        file.write('{"key": "2", "result": {"value": "x"}}\n[]\n"\\ud800"\n{"key": "4"}\n' + "[" * 100_000 + "\n")
    put(output, 5)
    assert found(output) == [1, 5]


def test_restart_begins_anew(output):
    put(output, 1)
    put(output, 2, restart=True)
    assert found(output) == [2]


def test_a_journal_of_another_version_is_begun_anew(output):
    put(output, 1)
    for restart in (False, True):
        path_of(output).write_text(path_of(output).read_text().replace('"schema_version": 1', '"schema_version": 2'))
        put(output, 2, restart=restart)
        assert found(output) == [2]


def test_a_file_that_is_no_journal_is_neither_read_nor_touched(output):
    for content in ("my notes\n", json.dumps({"file": "x"}), "\n", "{"):
        path_of(output).write_text(content)
        for restart in (False, True):
            with pytest.raises(UserError, match=r"reference\.json\.journal is there already, and is no journal"):
                put(output, 1, restart=restart)
        assert path_of(output).read_text() == content


def test_two_runs_never_write_one_output(output):
    with journal_of(output, Result), pytest.raises(UserError, match=r"another run is writing .*reference\.json: wait"):
        put(output, 1)
    assert list(output.parent.iterdir()) == []  # no lock is left


@pytest.mark.parametrize(("one", "other"), [("a.json", "A.JSON"), ("r\u00e9f.json", "re\u0301f.json")])
def test_spellings_that_a_disk_may_take_for_one_have_one_lock(tmp_path, one, other):
    with locked(tmp_path / one, ""), pytest.raises(UserError, match="another run"), locked(tmp_path / other, ""):
        pass


def test_a_lock_that_a_kill_left_is_taken_over(output):
    with locked(output, ""):
        (lock,) = output.parent.iterdir()
    lock.touch()
    put(output, 1)
    assert found(output) == [1]


def test_a_full_disk_keeps_what_was_written(small_disk):
    output = small_disk / "reference.json"
    with journal_of(output, Result) as journal:
        journal.put("1", Result(value=1))
        with (small_disk / "filler").open("wb", buffering=0) as filler, pytest.raises(OSError, match="No space left"):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(RunError, match=r"cannot write .*journal \(No space left on device\): free space"):
            for number in range(2, 1000):
                journal.put(str(number), Result(value=number))
        (small_disk / "filler").unlink()
        before = path_of(output).read_bytes()
        assert before.endswith(b"\n")  # half a line would swallow the next result
        journal.put("9", Result(value=9))
    assert {1, 9} <= set(found(output))


def test_a_digest_tells_apart_what_lies_between_its_parts():
    assert digest_of("ab", "c") != digest_of("a", "bc")
    assert digest_of(Result(value=1)) == digest_of(Result(value=1)) != digest_of(Result(value=2))
