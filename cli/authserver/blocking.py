"""`block`, `unblock` and `revoke-tokens`, of `sekisho clients`, `sekisho partners` and `sekisho platforms`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from authserver.audit.trail import Trail
from authserver.clients import blocking
from authserver.clients.store.blocks import exists
from authserver.installation import read_installation
from cli.authserver.database import ConfigOption, NotThere, opened, operator, settings_of
from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.access.revocation import Subject
from mesh.timestamps import to_ms

_ID_LENGTH = 64
_EXAMPLES = {Subject.CLIENT: "cli_01k5j2…", Subject.PARTNER: "ptn_01k5j2…", Subject.PLATFORM: "shops"}
_TOKENS = {
    Subject.CLIENT: "a client's tokens",
    Subject.PARTNER: "the tokens of a partner's clients",
    Subject.PLATFORM: "the tokens of a platform and of its partners",
}

partners = typer.Typer(no_args_is_help=True, help="Block partners, and unblock them.")

_Act = Callable[[Connection, Trail, str, Subject, str], None]


def add_commands(group: typer.Typer, holder: Subject) -> None:
    """Add `block`, `unblock` and `revoke-tokens` to a group of commands."""
    noun, tokens = holder.lower(), _TOKENS[holder]
    subject = typer.Argument(metavar=f"{holder}_ID", help=f"The {noun}'s id.", show_default=False)

    def example(command: str) -> str:
        return f"Example: sekisho {noun}s {command} {_EXAMPLES[holder]}"

    @group.command(
        help=f"Shut a {noun} out: {tokens} end within a second, and there are no new ones until it is unblocked."
        f"\n\n{example('block')}"
    )
    def block(
        subject_id: Annotated[str, subject],
        config: ConfigOption = None,
        home: HomeOption = DEFAULT_HOME,
        *,
        as_json: JsonOption = False,
    ) -> None:
        known = _act(_block, holder, subject_id, config, home)
        _show({"blocked": True, "known": known}, holder, subject_id, "blocked", as_json=as_json)

    @group.command(
        help=f"Let a {noun} in again. Tokens from before stay dead; other blocks, if any, stay.\n\n{example('unblock')}"
    )
    def unblock(
        subject_id: Annotated[str, subject],
        config: ConfigOption = None,
        home: HomeOption = DEFAULT_HOME,
        *,
        as_json: JsonOption = False,
    ) -> None:
        known = _act(blocking.unblock, holder, subject_id, config, home)
        _show({"blocked": False, "known": known}, holder, subject_id, "not blocked", as_json=as_json)

    @group.command(
        name="revoke-tokens",
        help=f"End {tokens}, within a second. There may be new ones at once.\n\n{example('revoke-tokens')}",
    )
    def revoke_tokens(
        subject_id: Annotated[str, subject],
        config: ConfigOption = None,
        home: HomeOption = DEFAULT_HOME,
        *,
        as_json: JsonOption = False,
    ) -> None:
        known = _act(blocking.revoke, holder, subject_id, config, home)
        _show({"revoked": True, "known": known}, holder, subject_id, "all tokens revoked", as_json=as_json)


def _block(connection: Connection, trail: Trail, actor: str, holder: Subject, subject: str) -> None:
    blocking.block(connection, trail, actor, holder, subject, to_ms(time.time()))


def _act(act: _Act, holder: Subject, subject: str, config: Path | None, home: Path) -> bool:
    """Do it, and return whether the id exists. Only a partner may be blocked before it exists."""
    settings = settings_of(config, home)
    trail = read_installation(settings).trail

    def work(connection: Connection) -> bool:
        known = exists(connection, holder, subject)
        if not known and holder != Subject.PARTNER:
            raise NotThere(f"there is no {holder.lower()} {subject}")
        act(connection, trail, operator(), holder, subject)
        return known

    if not 0 < len(subject) <= _ID_LENGTH or not subject.isprintable():
        raise NotThere(f"an id has 1 to {_ID_LENGTH} printable characters")
    with opened(settings) as database:
        return database.run_here(work)


def _show(facts: dict[str, bool], holder: Subject, subject: str, outcome: str, *, as_json: bool) -> None:
    noun = holder.lower()
    if as_json:
        print_json({f"{noun}_id": subject, **facts})
        return
    console.print(f"{noun} {subject}: {outcome}", soft_wrap=True, markup=False)
    if not facts["known"]:
        console.print(f"No client of this {noun} is registered yet. Is the id right?")


add_commands(partners, Subject.PARTNER)
