"""What the workflows leave behind of a run on GitHub, and what they may do there."""

import re
import subprocess
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def summary(*files, cwd):
    done = subprocess.run([ROOT / ".ci/summary", *files], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_summary_shows_tables_folds_json_and_names_what_was_not_written(tmp_path):
    (tmp_path / "demo.txt").write_text("┃ 352 ┃ 0 moved ┃\n")
    (tmp_path / "parity.json").write_text('{"moved": 0}\n')
    (tmp_path / "empty.txt").touch()
    text = summary("demo.txt", "parity.json", "empty.txt", "benchmark.json", cwd=tmp_path)
    assert "````text\n┃ 352 ┃ 0 moved ┃\n````" in text
    assert '<details><summary>parity.json</summary>\n\n````json\n{"moved": 0}\n````' in text
    assert re.findall(r"\*\*(\S+) was not written", text) == ["empty.txt", "benchmark.json"]


def steps():
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            for step in job["steps"]:
                yield f"{path.name}, {name}", step


def test_no_result_of_a_mac_is_hidden_by_a_step_that_failed():
    uploads = [step for _, step in steps() if "upload-artifact" in step.get("uses", "")]
    summaries = [step for _, step in steps() if "GITHUB_STEP_SUMMARY" in step.get("run", "")]
    measuring = [step for _, step in steps() if "run_coreml_inference.py" in step.get("run", "")]
    assert len(uploads) == len(summaries) == 2
    assert {step["if"] for step in uploads + summaries} == {"${{ always() }}"}
    assert {step.get("if") for step in measuring if " demo " not in step["run"]} == {"${{ !cancelled() }}"}
    assert all(step["timeout-minutes"] for step in measuring)


def test_actions_are_pinned_to_a_commit_and_may_only_read():
    for where, step in steps():
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", f"a/b@{'0' * 40}")), where
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
