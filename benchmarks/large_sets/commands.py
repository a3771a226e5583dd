"""The two measured commands, the ways to run them, and what their outputs say."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from benchmarks.common import ROOT
from benchmarks.large_sets.processes import Run, local_cluster, run_tree
from forced_aligner.base.errors import EXIT_THRESHOLD_MISSED
from forced_aligner.base.journal import journal_path

REFERENCE, COMPARE = "reference", "compare"
COMMANDS = (REFERENCE, COMPARE)
LATENCY = {REFERENCE: "latency_ms", COMPARE: "packages_latency_ms"}
LATENCIES = ("latency_ms", "packages_latency_ms", "pytorch_latency_ms")
PLAIN, ONE, MANY, CLUSTER = "plain", "one job", "jobs", "cluster"
WAYS = (PLAIN, ONE, MANY, CLUSTER)


@dataclass(frozen=True)
class Setup:
    """What is run.

    Attributes:
        model_id: as compare-models.py takes it.
        model_dir: the same model, converted.
        clips: the folder of pairs.
        work: where outputs and logs go.
        jobs: of the ways with several jobs.
        options: of each way; `{jobs}` and `{cluster}` are filled in.
        before: the checkout whose commands are the plain way.
        cluster: the address and the processes of a cluster that runs already.
    """

    model_id: str
    model_dir: Path
    clips: Path
    work: Path
    jobs: int = 2
    options: dict[str, str] = field(
        default_factory=lambda: {
            PLAIN: "",
            ONE: "--jobs 1 --threads 1",
            MANY: "--jobs {jobs} --threads 1",
            CLUSTER: "--cluster {cluster} --threads 1",
        }
    )
    before: Path = ROOT
    cluster: tuple[str, list[int]] | None = None

    def output(self, name: str, command: str) -> Path:
        """Where the run `name` of `command` writes its result."""
        return self.work / name.replace(" ", "-") / f"{command}.json"

    def command(self, command: str, count: int | None, output: Path, reference: Path) -> list[str | Path]:
        """The command line, without the options of a way."""
        limit = () if count is None else ("--num-files", str(count))
        if command == REFERENCE:
            model = ("--model-id", self.model_id, "--dataset", self.clips, "--language", "English")
            return ["compare-models.py", *model, *limit, "--output", output]
        packages = ("--model-dir", self.model_dir, "--backend", "mil")
        return ["run_coreml_inference.py", "compare", *packages, "--reference", reference, "--report", output]

    @contextmanager
    def with_cluster(self) -> Iterator[Self]:
        """The same with a local Dask cluster, of as many workers as jobs."""
        self.work.mkdir(parents=True, exist_ok=True)
        with local_cluster(self.jobs, self.work, ROOT) as cluster:
            yield replace(self, cluster=cluster)

    @contextmanager
    def way(self, way: str) -> Iterator[tuple[list[str], list[int]]]:
        """The options of a way, and the processes of its cluster, which is started where there is none."""
        if way == CLUSTER and self.cluster is None:
            with self.with_cluster() as setup, setup.way(way) as found:
                yield found
            return
        address, processes = self.cluster if way == CLUSTER and self.cluster else ("", [])
        yield self.options[way].format(jobs=self.jobs, cluster=address).split(), processes


def start_anew(output: Path) -> None:
    """Remove what an earlier run has written."""
    output.parent.mkdir(parents=True, exist_ok=True)
    for file in (output, journal_path(output), output.with_suffix(".log")):
        file.unlink(missing_ok=True)


def execute(
    setup: Setup,
    command: str,
    way: str,
    output: Path,
    reference: Path,
    count: int | None = None,
    *,
    kill_at: int | None = None,
    delay_s: float = 0.0,
) -> Run:
    """Run a command in a way, perhaps to be killed. It goes on from the journal that lies there.

    Raises:
        RuntimeError: it failed.
    """
    line = setup.command(command, count, output, reference)
    log = output.with_suffix(".log")
    with setup.way(way) as (options, processes):
        run = run_tree(
            [*line, *options],
            log,
            cwd=setup.before if way == PLAIN else ROOT,
            results=ResultCounter(output),
            kill_at=kill_at,
            delay_s=delay_s,
            others=processes,
        )
    if run.killed_at is None and run.code not in (0, EXIT_THRESHOLD_MISSED):
        raise RuntimeError(f"{' '.join(map(str, line))} ended with {run.code}: see {log}")
    return run


class ResultCounter:
    """Counts the results in the journal of `output`, and reads only what was added since the last count."""

    def __init__(self, output: Path) -> None:
        self._path = journal_path(output)
        self._read = self._lines = 0

    def __call__(self) -> int:
        """The complete lines after the first one; 0 where there is no journal."""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < self._read:  # what a kill has cut off was removed, or it is another one
                    self._read = self._lines = 0
                file.seek(self._read)
                added = file.read()
        except FileNotFoundError:
            return 0
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        self._lines += whole.count(b"\n")
        return max(0, self._lines - 1)


def results_in(output: Path) -> int:
    """The results in the journal of `output`; 0 where there is none."""
    return ResultCounter(output)()


def samples_of(output: Path) -> list[dict[str, Any]]:
    """The clips in a reference or a report."""
    return json.loads(output.read_text())["samples"]


def speed(run: Run, samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Time, throughput and memory of a whole run."""
    count, audio_s = len(samples), sum(sample["duration_s"] for sample in samples)
    return {
        "clips": count,
        "audio_s": round(audio_s, 1),
        "wall_s": round(run.wall_s, 2),
        "cpu_s": round(run.cpu_s, 2),
        "clips_per_s": round(count / run.wall_s, 3),
        "audio_s_per_s": round(audio_s / run.wall_s, 2),
        **_steady(run),
        "peak_pss_mb": round(run.peak() / 1e6),
        "peak_rss_mb": round(run.peak("Rss") / 1e6),
        "processes": run.processes,
    }


def _steady(run: Run) -> dict[str, float | None]:
    """The time to the first result, which libraries and weights take, and the rate from there to the last one."""
    seen = {results: at_s for results, at_s in run.result_s.items() if results}
    if len(seen) < 2:
        return {"first_result_s": None, "steady_clips_per_s": None}
    first, last = min(seen), max(seen)
    rate = (last - first) / (seen[last] - seen[first])
    return {"first_result_s": round(seen[first], 2), "steady_clips_per_s": round(rate, 3)}


def without_latencies(value: Any) -> Any:
    """A result without what may differ from run to run: the latencies."""
    if isinstance(value, dict):
        return {key: without_latencies(item) for key, item in value.items() if key not in LATENCIES}
    return [without_latencies(item) for item in value] if isinstance(value, list) else value


def differences(output: Path, expected: Path) -> dict[str, Any]:
    """What differs between two results, but for latencies: how many clips, and the keys beside the clips."""
    ours, theirs = (without_latencies(json.loads(file.read_text())) for file in (output, expected))
    mine, others = (
        {sample["audio"].rpartition("/")[2]: {**sample, "audio": ""} for sample in side["samples"]}
        for side in (ours, theirs)
    )
    names = set(mine) | set(others)
    return {
        "clips": len(names),
        "clips_that_differ": sum(mine.get(name) != others.get(name) for name in names),
        "same_order": list(mine) == list(others),
        "keys_that_differ": sorted(
            key for key in (set(ours) | set(theirs)) - {"samples"} if ours.get(key) != theirs.get(key)
        ),
    }
