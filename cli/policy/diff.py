"""`sekisho policy diff`: who gains and who loses what by a change."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.output import JsonOption, console, print_json
from cli.policy.revisions import checked_out
from cli.policy.sources import policy_of_set
from mesh.config import ConfigError
from policy.changes import Change, changes
from policy.policy import Policy, read_policy

# So that CI can ask for a second look: 1 is for what is wrong, 2 for what can't be read.
SOMEBODY_GAINS = 3
_REVISIONS = 2


def diff(
    files: Annotated[
        list[Path], typer.Argument(help="Two gateway configurations (*.yaml) or descriptor sets; with --git, one.")
    ],
    git: Annotated[
        list[str] | None,
        typer.Option("--git", help="A revision of the one file; given twice, the second is compared with the first."),
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show who gains and who loses what between two configurations, descriptor sets or git revisions.

    The exit status is 0 if nobody gains, 3 if somebody does, and 2 if something can't be read. Sekisho's own contracts
    are those of the installed version on both sides, unless compared as descriptor sets.

    Examples:
    sekisho policy diff old/gateway.yaml new/gateway.yaml;
    sekisho policy diff --git main gateway.yaml;
    sekisho policy diff --git v1 --git v2 gen/sekisho/contracts.binpb

    """
    with ExitStack() as stack:
        old, new = (_read(file) for file in _sides(files, git or [], stack))
        found = list(changes(old, new))
    if as_json:
        print_json([asdict(change) for change in found])
    else:
        _show(found)
    if any(change.gains for change in found):
        raise typer.Exit(SOMEBODY_GAINS)


def _sides(files: Sequence[Path], revisions: Sequence[str], stack: ExitStack) -> Sequence[Path]:
    """Return the old file and the new one."""
    if not revisions:
        if len(files) != 2:  # noqa: PLR2004 - old and new
            raise ConfigError("there must be two files, the old and the new one; or one, and --git")
        return files
    if len(files) != 1 or len(revisions) > _REVISIONS:
        raise ConfigError("with --git there must be one file, and one revision or two")
    sides = [stack.enter_context(checked_out(revision, files[0])) for revision in revisions]
    return [*sides, files[0]][:_REVISIONS]


def _read(file: Path) -> Policy:
    return read_policy(file) if file.suffix in {".yaml", ".yml"} else policy_of_set(file)


def _show(found: Sequence[Change]) -> None:
    if not found:
        console.print("nobody gains or loses anything")
    for gains, title in ((True, "gains"), (False, "loses")):
        for change in found:
            if change.gains is gains:
                told = f"{title}: {change.who} at {change.listener}, {change.method}: {change.says}"
                console.print(told, soft_wrap=True, markup=False)
