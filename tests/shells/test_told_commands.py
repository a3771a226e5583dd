"""The commands that the pages and the workflows tell to run."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer
import yaml
from typer.core import TyperGroup

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "demo").glob("*.md")]


def told():
    """Where a line is told to run, and the line."""
    for page in PAGES:
        for block in re.findall(
            r"^```(?:bash)?\n(.+?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            for line in block.replace("\\\n", " ").splitlines():
                yield page.name, line.removeprefix("$ ")
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].values():
            units = job.get("strategy", {}).get("matrix", {}).get("compute-units", ["all"])
            for step in job["steps"]:
                for value in units:
                    yield path.name, step.get("run", "").replace("${{ matrix.compute-units }}", value)


COMMANDS = sorted({(where, line) for where, line in told() if re.match(r"uv run [\w/-]+\.py\b", line)})


@pytest.fixture(scope="module")
def commands():
    scripts = [path.name for path in ROOT.glob("*.py") if path.name != "individual_components.py"]
    return {name: typer.main.get_command(runpy.run_path(str(ROOT / name))["app"]) for name in scripts}


@pytest.mark.parametrize(("where", "line"), COMMANDS, ids=[f"{where}: {line[7:60]}" for where, line in COMMANDS])
def test_a_command_that_we_tell_to_run_takes_its_options(commands, where, line):
    """Read by the command's own parser, and not run."""
    line = re.sub(r"\$\(.*?\)", "", line)  # what another command prints
    _, _, script, *arguments = shlex.split(re.split(r" (?:2>&1|\||>>?) ?", line)[0], comments=True)
    assert (ROOT / script).is_file(), f"{where} names {script}"
    if script not in commands:
        return
    command = commands[script]
    if isinstance(command, TyperGroup):
        command = command.commands[arguments.pop(0)]
    command.make_context(script, arguments)
