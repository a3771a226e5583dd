"""Read what another host wrote, and compare it with the golden vectors of a kit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open

from forced_aligner.base.console import log_always
from forced_aligner.base.errors import UserError
from forced_aligner.base.files import file_digest, is_file, is_folder
from forced_aligner.base.reading import list_folder, read_json_value
from forced_aligner.base.records import read_json
from forced_aligner.data.records import WordTime
from forced_aligner.package.host_kit.config import HostConfig
from forced_aligner.package.host_kit.golden import Golden
from forced_aligner.package.host_kit.stages import CONFIG_FILE, STAGES, TIMES, Stage, stage_of
from forced_aligner.score.host_check import HostReport, check_clip, host_report

Tensors = dict[str, NDArray[Any]]
KIT_HINT = "make it with convert-coreml.py --host-kit"
EXPECTED = "for each clip NAME.safetensors, a folder NAME with STAGE.npy, or NAME.json with its word times"
MAX_WHOLE = 2**53  # of token ids, classes and times: float64 has all whole numbers up to here
MAX_REAL = float(np.finfo(np.float32).max)
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
        if path.stem not in names and path.name not in names:
            log_always(f"left out: {path.name}, which is none of the kit's clips: {', '.join(names)}")
        elif path.name not in {f"{path.stem}.safetensors", f"{path.stem}.json"} | names.keys():
            log_always(f"left out: {path.name}; expected {EXPECTED}")
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
        for path in list_folder(output / clip):
            if path.suffix == ".npy" and is_file(path):
                given[path.stem] = _read_npy(path)
            else:
                log_always(f"left out: {clip}/{path.name}, which is no file of numpy: STAGE.npy")
    if is_file(output / f"{clip}.json"):
        given[TIMES] = _read_times(output / f"{clip}.json", golden.words)
    for name in sorted(given):
        stage = stage_of(name)
        if stage is None:
            log_always(
                f"left out: {name} of {clip}, which is none of {', '.join(STAGES)} (a mask has its number: mask.0)"
            )
            del given[name]
        else:
            given[name] = _numbers(f"{name} of {clip}", stage, given[name], golden.config.audio.masked)
    return given


def _numbers(what: str, stage: Stage, array: NDArray[Any], masked: float) -> NDArray[Any]:
    """The numbers of a stage as float64 or int64; a mask of truth values becomes one that is added to scores.

    Raises:
        UserError: there are none, they are no numbers, or are beyond what the stage can have.
    """
    if not array.size:
        raise UserError(f"{what} is empty: its shape is {list(array.shape)}; expected {stage.shape}")
    if array.dtype.kind == "b" and stage.name == "mask":
        return np.where(array, 0.0, masked)
    if array.dtype.kind not in "iuf":
        raise UserError(f"{what} is of type {array.dtype}; expected numbers, such as float32")
    largest = MAX_WHOLE if stage.measure == "count" and stage.name != "mask" else MAX_REAL
    finite = array[np.isfinite(array)]
    for value in (finite.min(initial=0), finite.max(initial=0)):
        if abs(float(value)) > largest:
            raise UserError(f"{what} has {float(value):g}; expected numbers of at most {largest:.3g}")
    return array.astype(np.float64 if array.dtype.kind == "f" else np.int64)


def _read_safetensors(path: Path) -> Tensors:
    try:
        with safe_open(path, "np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # it is no dict
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); expected safetensors of float32, float16 or integers") from None


def _read_npy(path: Path) -> NDArray[Any]:
    form = "expected one array of numbers, as numpy.save writes it"
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # refuses a header that claims more than the file has
    except Exception as error:  # a damaged header is parsed as Python, which fails in many ways
        raise UserError(f"cannot read {path} ({error}); {form}") from None
    if not isinstance(mapped, np.ndarray):
        raise UserError(f"cannot read {path}; {form}")
    return np.array(mapped) if mapped.dtype.itemsize else mapped  # a header may claim any number of values of no size


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
