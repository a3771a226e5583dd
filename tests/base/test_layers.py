"""The rooms of `forced_aligner/` import in one direction: down, never up and never sideways."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Rooms of one layer do not import each other: what a job needs of two, it combines itself.
LAYERS = (
    {"base"},
    {"runtime", "package", "checkpoint", "data"},
    {"convert", "score", "align", "output"},
    {"jobs"},
)
# Allowed between two rooms of one layer: whoever executes or describes a package reads it.
SIDEWAYS = {("runtime", "package")}
# The table of components and its PyTorch wrappers belong to the converting side.
READERS_OF_THE_TABLE = {"convert", "jobs"}


def imported_rooms(path):
    """Room of a module -> the rooms that it imports, with the line of each import."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "forced_aligner" and len(parts) > 1:
                yield parts[1], node.lineno
            elif parts[0] in ("individual_components", "demo", "benchmarks", "tests"):
                yield parts[0], node.lineno


MODULES = sorted(
    path for path in (ROOT / "forced_aligner").rglob("*.py") if path.name != "__init__.py" or path.stat().st_size
)


def level(room):
    return next(index for index, rooms in enumerate(LAYERS) if room in rooms)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT / "forced_aligner").as_posix())
def test_a_module_imports_rooms_below_its_own_alone(path):
    room = path.relative_to(ROOT / "forced_aligner").parts[0]
    for other, line in imported_rooms(path):
        where = f"{path.relative_to(ROOT)}:{line} imports {other}"
        if other == "individual_components":
            assert room in READERS_OF_THE_TABLE, where
        elif other != room:
            assert other in set().union(*LAYERS), where
            assert level(other) < level(room) or (room, other) in SIDEWAYS, where


def test_every_room_has_its_place():
    rooms = {path.name for path in (ROOT / "forced_aligner").iterdir() if (path / "__init__.py").is_file()}
    assert rooms == set().union(*LAYERS)


def test_the_wrappers_know_the_contract_and_the_dimensions_alone():
    assert {room for room, _ in imported_rooms(ROOT / "individual_components.py")} <= {"package"}
