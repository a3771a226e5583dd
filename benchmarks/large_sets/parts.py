"""The parts of the benchmark. Each returns what goes into the results, and can be run alone."""

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.large_sets.commands import (
    CLUSTER,
    COMMANDS,
    COMPARE,
    LATENCY,
    MANY,
    ONE,
    PLAIN,
    REFERENCE,
    Setup,
    differences,
    execute,
    results_in,
    samples_of,
    speed,
    start_anew,
)
from benchmarks.large_sets.processes import Run

BUCKET_S = 5.0
DELAY_S = 0.3  # a kill comes up to so long after a result


def throughput(setup: Setup, count: int, ways: Sequence[str], rounds: int = 1) -> dict[str, Any]:
    """Both commands in each way on the same `count` clips; of several rounds, the fastest run of each way counts.

    The results of each way are compared with those of the first one, and the packages in every way with one reference.
    One cluster does all runs of its way, so that with several rounds its workers have the model.
    """
    if CLUSTER in ways and setup.cluster is None:
        with setup.with_cluster() as with_cluster:
            return throughput(with_cluster, count, ways, rounds)
    base = ONE if ONE in ways else ways[0]
    reference = setup.output(base, REFERENCE)
    rows: dict[str, dict[str, Any]] = {command: {} for command in COMMANDS}
    for command in COMMANDS:
        for way in [way for _ in range(rounds) for way in ways]:
            output = setup.output(way, command)
            start_anew(output)
            run = execute(setup, command, way, output, reference, count)
            row = speed(run, samples_of(output))
            if row["wall_s"] <= rows[command].get(way, row)["wall_s"]:
                rows[command][way] = row
            say(f"{command}, {way}: {row['clips_per_s']} clips/s, {row['peak_pss_mb']} MB")
        first = setup.output(ways[0], command)
        for way in ways:
            rows[command][way]["differences"] = differences(setup.output(way, command), first)
    ratios = {command: _ratios(rows[command]) for command in COMMANDS}
    cost = {"way": base, "rows": cost_by_length(setup.output(base, COMPARE))}
    return {"clips": count, "jobs": setup.jobs, **rows, "ratios": ratios, "cost_by_length": cost}


def _ratios(rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Throughput of each way over that of the others, by wall time, start-up included, and of the steady rates."""
    ratios = {}
    for name, divisor in ((MANY, ONE), (MANY, PLAIN), (CLUSTER, MANY)):
        for key in ("clips_per_s", "steady_clips_per_s"):
            top, bottom = (rows.get(way, {}).get(key) for way in (name, divisor))
            if top and bottom:
                ratios[f"{name} / {divisor}" + (", steady" if key != "clips_per_s" else "")] = round(top / bottom, 3)
    return ratios


def simulation(setup: Setup, count: int, way: str, kills: int, seed: int) -> dict[str, Any]:
    """Reference and comparison of the whole set: undisturbed, and killed `kills` times at random and resumed."""
    draw = random.Random(seed)
    result: dict[str, Any] = {"way": way, "jobs": setup.jobs, "seed": seed}
    reference = setup.output("undisturbed", REFERENCE)
    for command in COMMANDS:
        whole, killed = setup.output("undisturbed", command), setup.output("killed", command)
        for output in (whole, killed):
            start_anew(output)
        run = execute(setup, command, way, whole, reference, count)
        row = speed(run, samples_of(whole))
        say(f"{command}: {row['wall_s']} s, {row['peak_pss_mb']} MB")
        attempts, runs = [], []
        moments = sorted(draw.uniform(0.02, 0.98) for _ in range(kills))
        for moment in [*moments, None]:
            before = results_in(killed)
            kill_at = None if moment is None else max(before + 1, round(moment * count))
            again = execute(
                setup, command, way, killed, reference, count, kill_at=kill_at, delay_s=draw.uniform(0, DELAY_S)
            )
            runs.append(again)
            attempts.append(
                {
                    "results_before": before,
                    "killed_with_results": again.killed_at,
                    "wall_s": round(again.wall_s, 2),
                    "peak_pss_mb": round(again.peak() / 1e6),
                }
            )
            say(f"{command}: {attempts[-1]}")
            if again.killed_at is None:  # at its end, perhaps before its time to be killed
                break
        result[command] = {
            "undisturbed": row,
            "attempts": attempts,
            "kills": sum(again.killed_at is not None for again in runs),
            "wall_s": round(sum(again.wall_s for again in runs), 2),
            "differences": differences(killed, whole),
        }
    cost = {"way": way, "rows": cost_by_length(setup.output("undisturbed", COMPARE))}
    return {"clips": count, **result, "cost_by_length": cost}


def memory_growth(setup: Setup, counts: Sequence[int], way: str) -> dict[str, Any]:
    """Both commands on sets of several sizes: the peak memory, and the start-up that the wall times imply."""
    rows: dict[str, list[dict[str, Any]]] = {command: [] for command in COMMANDS}
    for count in counts:
        for command in COMMANDS:
            output = setup.output(f"of-{count}", command)
            start_anew(output)
            run = execute(setup, command, way, output, setup.output(f"of-{count}", REFERENCE), count)
            rows[command].append(speed(run, samples_of(output)))
            say(f"{command}, {count} clips: {rows[command][-1]['peak_pss_mb']} MB")
    return {"way": way, "jobs": setup.jobs, **rows, "fit": {command: _fit(rows[command]) for command in COMMANDS}}


def _fit(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Straight lines through memory and time over the size of the set; they need two sizes."""
    if len(rows) < 2:
        return {}
    counts = [row["clips"] for row in rows]
    mb, _ = np.polyfit(counts, [row["peak_pss_mb"] for row in rows], 1)
    rate, start_s = np.polyfit([row["audio_s"] for row in rows], [row["wall_s"] for row in rows], 1)
    largest, smallest = max(rows, key=lambda row: row["clips"]), min(rows, key=lambda row: row["clips"])
    return {
        "mb_per_1000_clips": round(float(mb) * 1000, 2),
        "largest_over_smallest_peak": round(largest["peak_pss_mb"] / smallest["peak_pss_mb"], 3),
        "start_up_s": round(float(start_s), 2),
        "steady_audio_s_per_s": round(1 / float(rate), 2),
    }


def full_size_memory(setup: Setup, commands: Sequence[str] = COMMANDS) -> dict[str, Any]:
    """One job and several on the clips of `setup`, which are few: what of the memory is shared.

    The pages of files, weights among them, are told apart from the others, which each job has for itself.
    """
    reference = setup.output(ONE, REFERENCE)
    result: dict[str, Any] = {"jobs": setup.jobs}
    if COMPARE in commands and REFERENCE not in commands and not reference.exists():
        start_anew(reference)
        execute(setup, REFERENCE, ONE, reference, reference)
    for command in commands:
        rows = {}
        for way in (ONE, MANY):
            output = setup.output(way, command)
            start_anew(output)
            run = execute(setup, command, way, output, reference)
            rows[way] = {**speed(run, samples_of(output)), **_peaks(run)}
            say(f"{command}, {way}: {rows[way]}")
        one, many = rows[ONE]["peak_pss_mb"], rows[MANY]["peak_pss_mb"]
        result[command] = {
            **rows,
            "ratio": round(many / one, 3),
            "ratio_of_rss": round(rows[MANY]["peak_rss_mb"] / rows[ONE]["peak_rss_mb"], 3),
        }
    return result


def _peaks(run: Run) -> dict[str, int]:
    peak = run.peak_sample.memory
    return {
        "anonymous_at_peak_mb": round(peak.get("Pss_Anon", 0) / 1e6),
        "files_at_peak_mb": round(peak.get("Pss_File", 0) / 1e6),
    }


def cost_by_length(report: Path) -> list[dict[str, Any]]:
    """The mean latency of clips by their length, of the packages and of PyTorch, from a report; the last row is of all.

    Milliseconds for a second of audio are also hours for 1,000 hours, in one process.
    """
    samples = samples_of(report)
    lengths = np.array([sample["duration_s"] for sample in samples])
    bucket = np.ceil(lengths / BUCKET_S).astype(int) - 1
    chosen = {f"{n * BUCKET_S:g} to {(n + 1) * BUCKET_S:g} s": bucket == n for n in np.unique(bucket)}
    rows = []
    for name, here in {**chosen, "all": np.ones(len(samples), bool)}.items():
        mean_s = round(float(lengths[here].mean()), 2)
        row: dict[str, Any] = {"length": name, "clips": int(here.sum()), "mean_s": mean_s}
        for side, key in (("packages", LATENCY[COMPARE]), ("pytorch", "pytorch_latency_ms")):
            latency = np.array([sample[key] for sample in samples])[here]
            per_s = float(latency.sum() / lengths[here].sum())
            row |= {
                f"{side}_ms": round(float(latency.mean()), 1),
                f"{side}_median_ms": round(float(np.median(latency)), 1),
                f"{side}_ms_per_audio_s": round(per_s, 2),
            }
        rows.append(row)
    return rows


def say(line: str) -> None:
    """Progress."""
    print(line, file=sys.stderr, flush=True)
