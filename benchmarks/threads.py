"""How long each function of a converted model takes with one thread and with all, beside its multiply-adds an op.

    uv run benchmarks/threads.py --model-dir build/demo/forced-aligner

It is the ground of the choice in `forced_aligner/runtime/threads.py`. The machine must do nothing else: with several
threads, every product waits for the slowest one.
"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forced_aligner.base.console import run_app
from forced_aligner.package.bundle import Bundle
from forced_aligner.runtime.threads import available_threads, computing_with

ROWS = 64  # of a flexible axis
BURST_S = 0.25  # calls of both ways in turn, then a pause in which the machine does what else it has to do
PAUSE_S = 0.6

app = typer.Typer(add_completion=False)


@app.command()
def main(
    model_dir: Annotated[Path, typer.Option(help="a converted folder")],
    bursts: Annotated[int, typer.Option(help="how often each function is measured, for a quarter of a second")] = 4,
    component: Annotated[list[str] | None, typer.Option(help="the components; default: all")] = None,
) -> None:
    """Print the best time of each function with one thread and with all."""
    from forced_aligner.runtime.mil.program import Program

    bundle, threads = Bundle.open(model_dir), available_threads()
    print(f"{'function':36} {'M multiply-adds an op':>21} {'1 thread':>12} {f'{threads} threads':>12}")
    for key in component or bundle.metadata.components:
        program = Program(bundle.package(key))
        for name in program.function_names:
            function = program.function(name)
            best = _best_ms(function, (1, threads), bursts)
            print(f"{key + ' ' + name:36} {function.work / 1e6:21.2f} {best[0]:9.2f} ms {best[1]:9.2f} ms", flush=True)
            program.drop(name)


def _best_ms(function: Any, ways: tuple[int, ...], bursts: int) -> list[float]:
    """The best time of a call with each number of threads, in turn; the first calls do not count."""
    generator = np.random.default_rng(0)
    inputs = {
        name: generator.integers(0, 200, shape).astype(np.int32)
        if "ids" in name
        else 0.3 * generator.standard_normal(shape, np.float32)
        for name, (_, sizes) in function.inputs.items()
        for shape in [[size or ROWS for size in sizes]]
    }
    best = [float("inf")] * len(ways)
    for burst in range(bursts + 1):
        until = time.perf_counter() + BURST_S
        while True:
            for number, threads in enumerate(ways):
                with computing_with(threads):
                    for _ in range(2):
                        started = time.perf_counter()
                        function(inputs)
                        if burst:
                            best[number] = min(best[number], (time.perf_counter() - started) * 1000)
            if time.perf_counter() > until:
                break
        time.sleep(PAUSE_S)
    return best


if __name__ == "__main__":
    run_app(app)
