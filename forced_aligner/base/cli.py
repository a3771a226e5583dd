"""What the command lines share: how an app is made, and the options that every command has."""

from __future__ import annotations

from typing import Annotated

import typer

from forced_aligner.base.console import set_quiet, write_result
from forced_aligner.base.version import PROJECT, version_string


def make_app(*, no_args_is_help: bool = False) -> typer.Typer:
    """An app with shell completion. `run_app` runs it.

    Its help is plain text: rich's boxes take 0.2 s to load.
    """
    return typer.Typer(
        pretty_exceptions_enable=False,
        no_args_is_help=no_args_is_help,
        rich_markup_mode=None,
        context_settings={"max_content_width": 120},
    )


def _show_version(asked: bool) -> None:
    if asked:
        write_result(f"{PROJECT} {version_string()}\n")
        raise typer.Exit


VersionOption = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", callback=set_quiet, help="Nothing on stderr but warnings, failures and errors.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the results as JSON.")]
JobsOption = Annotated[int, typer.Option(min=1, max=1024, help="Recordings at a time, each in a process of its own.")]
ThreadsOption = Annotated[
    int | None,
    typer.Option(min=1, max=1024, help="PyTorch's, in each process. (default: by the work; with --jobs, cores / jobs)"),
]
ClusterOption = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, such as tcp://10.0.0.1:8786, instead of --jobs.")
]
