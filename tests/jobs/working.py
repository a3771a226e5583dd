"""What the tests of workers and of clusters share."""

from forced_aligner.jobs.each import Done, Work, for_each
from tests.jobs.worker_calls import call


def doubled(tasks, crew, folder, sizes=None):
    """What is kept of some tasks, and the failures, of a run whose lines go to stderr."""
    work = Work(
        audio_of=lambda index: f"{tasks[index]}.wav",
        prepare=lambda index: Done("there already") if tasks[index] is None else tasks[index],
        compute=call,
        finish=lambda index, result: ((tasks[index], result), f"gave {result}"),
        length_of=lambda index: 0 if sizes is None else sizes[index],
    )
    kept, failures = for_each(list(range(len(tasks))), work, crew, folder / "errors.log")
    return kept, [(failure.audio, str(failure.error)) for failure in failures]


TASKS = [1, "fail", 2, None, 3, "broken", 4]


def without_times(record):
    """A report or a reference as JSON, without how long each clip took."""
    text = record.model_dump(mode="json", by_alias=True)
    for sample in text["samples"]:
        for key in [key for key in sample if "latency" in key or key == "stage_ms"]:
            del sample[key]
    return {key: value for key, value in text.items() if "latency" not in key}
