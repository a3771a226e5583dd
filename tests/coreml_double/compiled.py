"""What the double's compiler writes and its loader reads: a `.mlmodelc` folder that holds the package's program."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coremltools.proto import Model_pb2
from google.protobuf.message import DecodeError

from forced_aligner.base.errors import UserError
from forced_aligner.package.contract import MAIN, MANIFEST, SPEC_FILE, WEIGHTS_FILE
from forced_aligner.runtime.mil.program import Program

from .errors import core_ml_error

SUFFIX = ".mlmodelc"
MARKER = "coremldata.bin"  # a file of every folder that Core ML compiled
OWN_MANIFEST = "compiled-by-the-double.json"
# By macOS: specification versions 6 to 9 came with macOS 12 to 15, and 10 with macOS 26 (coremltools/__init__.py).
NEWEST_SPECIFICATION = {12: 6, 13: 7, 14: 8, 15: 9}
MAX_PROGRAMS = 16  # of the cache; a whole demo has six


def compile_package(package: Path, compiled: Path, macos: tuple[int, ...]) -> None:
    """Write the compiled form of `package` to the new folder `compiled`.

    Raises:
        RuntimeError: it is not a package, its program is damaged, or it needs a newer macOS.
    """
    root = _root_model(package)
    try:
        spec = Model_pb2.Model.FromString(root.read_bytes())
    except DecodeError as error:
        raise core_ml_error(f"unable to deserialize {root.name}: {error}") from None
    newest = NEWEST_SPECIFICATION.get(macos[0], 10)
    if spec.specificationVersion > newest:
        system = ".".join(map(str, macos))
        raise core_ml_error(f"the specification version {spec.specificationVersion} is newer than macOS {system} knows")
    (compiled / WEIGHTS_FILE).parent.mkdir(parents=True)
    shutil.copyfile(root, compiled / SPEC_FILE)
    weights = root.parent / "weights" / WEIGHTS_FILE.name
    if weights.is_file():  # a package whose constants are all small has none
        shutil.copyfile(weights, compiled / WEIGHTS_FILE)
    (compiled / MARKER).write_bytes(b"made by a test double of Core ML")
    (compiled / OWN_MANIFEST).write_text(json.dumps({"package": package.name}), encoding="utf-8")


def _root_model(package: Path) -> Path:
    """The file of the program, by the package's manifest."""
    if package.suffix != ".mlpackage" or not package.is_dir():
        raise core_ml_error(f"{package} is not a model package")
    try:
        manifest: dict[str, Any] = json.loads((package / MANIFEST).read_bytes())
        root = package / "Data" / manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
    except (OSError, ValueError, LookupError, TypeError):
        raise core_ml_error(f"A valid manifest does not exist at path: {package / MANIFEST}") from None
    if not root.is_file():
        raise core_ml_error(f"the model file {root} does not exist")
    return root


@dataclass(frozen=True)
class Compiled:
    """A compiled folder that was opened.

    Attributes:
        package: the name of the package that it was compiled from.
        program: computes its functions.
    """

    package: str
    program: Program

    @property
    def spec(self) -> Model_pb2.Model:
        """The spec that the package was saved with."""
        return self.program.spec

    @property
    def functions(self) -> list[str]:
        """The names by which functions are chosen; none where there is one function."""
        return [function.name for function in self.spec.description.functions]

    @property
    def default_function(self) -> str:
        """The function that Core ML takes where none is named."""
        return self.spec.description.defaultFunctionName or MAIN

    def description(self, function: str) -> Any:
        """What the package declares of the inputs and outputs of `function`."""
        by_name = {item.name: item for item in self.spec.description.functions}
        return by_name[function] if by_name else self.spec.description


def open_compiled(path: Path) -> Compiled:
    """The compiled folder at `path`.

    Raises:
        RuntimeError: it is not one, or its program is damaged.
    """
    if path.suffix != SUFFIX or not (path / MARKER).is_file():
        raise core_ml_error(
            f"Unable to load model: {path}. Compile the model with Xcode or `MLModel.compileModel(at:)`."
        )
    package = json.loads((path / OWN_MANIFEST).read_bytes())["package"]
    return Compiled(package, _program(path))


_PROGRAMS: OrderedDict[str, Program] = OrderedDict()


def _program(path: Path) -> Program:
    """The program in the folder. It is parsed once for equal contents, wherever they lie."""
    digest = hashlib.sha256()
    for file in (path / SPEC_FILE, path / WEIGHTS_FILE):
        digest.update(file.read_bytes() if file.is_file() else b"")
    key = digest.hexdigest()
    if key not in _PROGRAMS:
        try:
            _PROGRAMS[key] = Program(path)
        except UserError as error:
            raise core_ml_error(str(error)) from None
    _PROGRAMS.move_to_end(key)
    if len(_PROGRAMS) > MAX_PROGRAMS:
        _PROGRAMS.popitem(last=False)
    return _PROGRAMS[key]
