"""What the commands have in common: options, and printing."""

import json
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console

HomeOption: TypeAlias = Annotated[
    Path, typer.Option("--home", help="The folder that the mesh lives in.", envvar="SEKISHO_HOME")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

console = Console(highlight=False)


def print_json(value: Any) -> None:  # noqa: ANN401 - any JSON
    """Print a value as one line of JSON, at once."""
    print(json.dumps(value, default=str), flush=True)  # noqa: T201 - this is what the command is for
