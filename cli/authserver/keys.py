"""`sekisho keys`: the auth server's own keys, beside its database."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import typer
from rich.table import Table
from sqlalchemy import Connection

from authserver.clients.store.secrets import count_secrets
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.keys.rotation import AT_ONCE_SECONDS, KeyKeeper, paces, retire_key, rotate_key
from authserver.keys.schedule import Use, state_of
from authserver.keys.store import StoredKey, list_keys
from cli.authserver.database import ConfigOption, opened, operator, settings_of, shown_time
from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from mesh.timestamps import to_ms

_Facts: TypeAlias = dict[str, Any]

keys = typer.Typer(no_args_is_help=True, help="Show, rotate and retire the auth server's own keys.")


@keys.command(name="list")
def list_(config: ConfigOption = None, home: HomeOption = DEFAULT_HOME, *, as_json: JsonOption = False) -> None:
    """Show the keys, and how many client secrets hang on each pepper. Changes nothing.

    A key is announced, then active, then retiring until its last token has expired, then retired; a day later it is
    gone. A pepper that no secret hangs on can be removed from the configuration.

    Example: sekisho keys list --json
    """
    settings, now_ms = settings_of(config, home), to_ms(time.time())

    def read(connection: Connection) -> tuple[Sequence[StoredKey], Mapping[int, int]]:
        return list_keys(connection), count_secrets(connection, now_ms)

    with opened(settings) as database:
        stored, secrets = database.read_here(read)
    known = {pepper.id for pepper in settings.peppers}
    facts = [_facts(key, stored, now_ms) for key in stored]
    peppers = [
        {"id": pepper_id, "secrets": secrets.get(pepper_id, 0), "configured": pepper_id in known}
        for pepper_id in sorted(known | secrets.keys())
    ]
    if as_json:
        print_json({"keys": facts, "peppers": peppers})
        return
    columns = ("key", "use", "state", "made", "used from", "retired from")
    console.print(_table(columns, [[str(value or "") for value in key.values()] for key in facts]))
    console.print(_table(("pepper", "secrets", ""), [_pepper_row(pepper) for pepper in peppers]))


@keys.command()
def rotate(
    use: Annotated[Use, typer.Argument(help="What the key is for: signing private access tokens, or sealing others.")],
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    now: Annotated[bool, typer.Option("--now", help="Use the successor in two seconds, and wait for that.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Announce a successor of the key in use, ahead of schedule. It is used after `key_announce_seconds`.

    The old key goes on to verify or open what it made, until that has expired. --now is for emergencies: a backend may
    refuse a token signed with a key that it does not know yet, for ten seconds at most.

    Examples:
    sekisho keys rotate sealing;
    sekisho keys rotate signing --now

    """
    key = _change(
        settings_of(config, home),
        lambda connection, keeper, now_ms: rotate_key(connection, keeper, use, now_ms, at_once=now),
        as_json=as_json,
    )
    if not as_json:
        console.print(f"key {key['key_id']} ({use}) is used from {key['activate_time']} on", soft_wrap=True)
    if now:
        time.sleep(AT_ONCE_SECONDS)


@keys.command()
def retire(
    key_id: Annotated[int, typer.Argument(help="The key's id, as `sekisho keys list` shows it.")],
    config: ConfigOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """End a key at once, because someone else may have it. All that was made by it ends too.

    The key in use can't be retired: rotate it first. The auth servers refuse what a sealing key sealed within a second,
    backends what a signing key signed within thirty.

    Example: sekisho keys rotate sealing --now && sekisho keys retire 3
    """
    key = _change(
        settings_of(config, home),
        lambda connection, keeper, now_ms: retire_key(connection, keeper, key_id, now_ms),
        as_json=as_json,
    )
    if not as_json:
        console.print(f"key {key_id} ({key['use']}) is retired", soft_wrap=True)


def _change(
    settings: AuthServerConfig, change: Callable[[Connection, KeyKeeper, int], StoredKey], *, as_json: bool
) -> _Facts:
    """Change a key as the person at the command line; print it if JSON was asked for, and return it."""
    installation = read_installation(settings)
    keeper = KeyKeeper(installation.key_encryption, paces(settings), installation.trail, operator())
    now_ms = to_ms(time.time())

    def work(connection: Connection) -> _Facts:
        changed = change(connection, keeper, now_ms)
        return _facts(changed, list_keys(connection), now_ms)

    with opened(settings) as database:
        facts = database.run_here(work)
    if as_json:
        print_json(facts)
    return facts


def _facts(key: StoredKey, stored: Sequence[StoredKey], now_ms: int) -> _Facts:
    same_use = [each.times for each in stored if each.use == key.use]
    return {
        "key_id": key.times.key_id,
        "use": key.use.value,
        "state": state_of(key.times, same_use, now_ms).value,
        "create_time": shown_time(key.create_time),
        "activate_time": shown_time(key.times.activate_time),
        "retire_time": shown_time(key.times.retire_time),
    }


def _pepper_row(pepper: Mapping[str, Any]) -> list[str]:
    remark = "" if pepper["configured"] else "[red]not in the configuration: these secrets work no more[/]"
    return [str(pepper["id"]), str(pepper["secrets"]), remark]


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*columns)
    for row in rows:
        table.add_row(*row)
    return table
