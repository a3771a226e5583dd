"""Read what another host wrote, and compare it with the golden vectors of a kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from forced_aligner.base.console import log
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, is_file, is_folder
from forced_aligner.base.reading import list_folder, read_json_value
from forced_aligner.base.records import read_json
from forced_aligner.data.records import WordTime
from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.stages import CONFIG_FILE, STAGES, TIMES, stage_of
from forced_aligner.score.host_check import HostReport, check_clip, host_report

Tensors = dict[str, NDArray[Any]]
KIT_HINT = "make it with convert-coreml.py --host-kit"
EXPECTED = "for each clip NAME.safetensors, a folder NAME with STAGE.npy, or NAME.json with its word times"
_WORDS = TypeAdapter(list[WordTime])


def check_host(kit: Path, output: Path) -> HostReport:
    """Compare what a host left in `output` with the golden vectors in `kit`.

    Raises:
        UserError: `kit` is no kit or is damaged, or `output` holds nothing of its clips, or cannot be read.
    """
    config = read_json(HostConfig, kit / CONFIG_FILE, KIT_HINT)
    if not is_folder(output):
        raise UserError(f"no folder at {output}; expected what another host wrote: {EXPECTED}")
    results, clips = [], []
    names = {Path(file.name).stem: file for file in config.golden_vectors.clips}
    if not names:
        raise UserError(f"{kit} has no golden vectors, since its packages take none of the clips: {KIT_HINT}")
    for path in list_folder(output):
        if path.stem not in names:
            log(f"left out: {path.name}, which is none of the kit's clips: {', '.join(names)}")
    for name, file in names.items():
        path = kit / config.golden_vectors.folder / file.name
        if not is_file(path) or file_digest(path) != file.sha256:
            raise UserError(f"{path} is missing or damaged: {KIT_HINT}")
        golden = Golden.read(config, path)
        if given := _read_given(output, name, golden):
            clips.append(name)
            results += check_clip(name, golden, given)
    if not results:
        raise UserError(f"{output} holds nothing of the clips {', '.join(names)}; expected {EXPECTED}")
    return host_report(config.model_id, results, clips)


def _read_given(output: Path, clip: str, golden: Golden) -> Tensors:
    """All stages of one clip that a host wrote, in whichever files."""
    given: Tensors = {}
    if is_file(output / f"{clip}.safetensors"):
        given |= _read_safetensors(output / f"{clip}.safetensors")
    if is_folder(output / clip):
        given |= {path.stem: _read_npy(path) for path in list_folder(output / clip) if path.suffix == ".npy"}
    if is_file(output / f"{clip}.json"):
        given[TIMES] = _read_times(output / f"{clip}.json", golden.words)
    for name in sorted(given):
        if stage_of(name) is None:
            log(f"left out: {name} of {clip}, which is none of {', '.join(STAGES)} (a mask has its number: mask.0)")
            del given[name]
        elif given[name].dtype.kind not in "iuf":
            raise UserError(f"{name} of {clip} is of type {given[name].dtype}; expected numbers, such as float32")
    return given


def _read_safetensors(path: Path) -> Tensors:
    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); expected safetensors of float32, float16 or integers") from None


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read {path} ({error}); expected one array, as numpy.save writes it") from None
    if not isinstance(array, np.ndarray):
        raise UserError(f"cannot read {path}; expected one array, as numpy.save writes it")
    return array


def _read_times(path: Path, words: list[str]) -> NDArray[np.float64]:
    """(2 words,): start and end of each word."""
    form = 'a list of {"text": …, "start_time_ms": …, "end_time_ms": …}'
    try:
        found = _WORDS.validate_python(read_json_value(path, what=form))
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise UserError(f"{path} is not as it must be: {where or 'the file'}; expected {form}") from None
    texts = [word.text for word in found]
    if texts != words:
        at = next((i for i, pair in enumerate(zip(texts, words, strict=False)) if pair[0] != pair[1]), None)
        differing = f"word {at} is {texts[at]!r}, not {words[at]!r}" if at is not None else f"{len(texts)} words"
        raise UserError(f"{path} has other words than the clip ({differing}); expected {' '.join(words)}")
    return np.array([time for word in found for time in (word.start_time_ms, word.end_time_ms)])
