"""`sekisho policy explain`: why a call is let through or not."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from jwt import PyJWTError, decode_complete

from authserver.access_tokens import AccessToken, TokenRejected
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.keys.ring import KeyRing
from authserver.keys.store import list_keys
from cli.authserver.database import opened, settings_of
from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from cli.policy.sources import ConfigOption, ListenerOption, SetOption, chosen, doors_of, method_path
from mesh.access.rules import Caller, ClientType
from mesh.calls.metadata import AUTHORIZATION, bearer_token
from mesh.config import ConfigError
from mesh.security.jwt_values import media_type
from mesh.security.private_tokens import TYP, caller_of
from policy.explanation import Explanation, explain

ScopeOption = Annotated[list[str] | None, typer.Option("--scope", help="A scope of the token. Can be repeated.")]


def explain_(  # noqa: PLR0913 - a command's options
    method: Annotated[str, typer.Argument(help="The method: /package.Service/Method.")],
    *,
    client_type: Annotated[
        ClientType | None,
        typer.Option(help="The type of the client. Without this and without a token: a call that has no token."),
    ] = None,
    scope: ScopeOption = None,
    client_id: Annotated[str, typer.Option(help="The client's id, for restrictions.")] = "",
    partner_id: Annotated[str, typer.Option(help="The Partner ID of the client, for restrictions.")] = "",
    platform_id: Annotated[str, typer.Option(help="The platform of the client, for restrictions.")] = "",
    token_file: Annotated[
        Path | None, typer.Option(help="A token to read the caller from, in a file; - for standard input.")
    ] = None,
    auth_config: Annotated[
        Path | None,
        typer.Option(help="The auth server's configuration: access tokens can be opened only beside its database."),
    ] = None,
    config: ConfigOption = None,
    descriptor_set: SetOption = None,
    listener: ListenerOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Explain step by step whether a call is let through, with the file and line of what decides.

    A token is read from a file, because others could read it on the command line. Only the auth server's keys can open
    an access token. A private access token is read without verification. The command does not look up whether a token
    was revoked.

    Examples:
    sekisho policy explain sekisho.payments.v1.PaymentService/GetPayment --client-type PARTNER --scope payments.read;
    sekisho policy explain sekisho.payments.v1.PaymentService/GetPayment --token-file - < token

    """
    policy = chosen(config, descriptor_set, home)
    described = bool(client_type or scope or client_id or partner_id or platform_id)
    if token_file and described:
        raise ConfigError("a token says itself whom it speaks for: leave out client type, scopes and ids")
    if described and client_type is None:
        raise ConfigError("scopes and ids are a client's: say of what --client-type")
    caller = None
    if token_file:
        caller = caller_in(_read(token_file), auth_config, home)
    elif client_type:
        scopes = frozenset(each for words in scope or () for each in words.split())
        caller = Caller(client_id, client_type, platform_id, partner_id, scopes)
    path = method_path(method)
    told = {door: explain(policy, door, path, caller) for door in doors_of(policy, listener)}
    if as_json:
        print_json([_facts(door, path, explanation) for door, explanation in told.items()])
        return
    for door, explanation in told.items():
        _show(door, path, explanation)


def caller_in(token: str, auth_config: Path | None, home: Path) -> Caller:
    """Return whom a token speaks for. That it holds is not verified, but that it has not expired.

    Raises:
        ConfigError: If it can't be read, or has expired.

    """
    if token.startswith("sat_"):
        opened_token = _open(token, settings_of(auth_config, home))
        caller, expire_time = opened_token.caller, float(opened_token.expire_time)
    else:
        try:
            read = decode_complete(token, options={"verify_signature": False})
            caller, expire_time = caller_of(read["payload"]), float(read["payload"]["exp"])
        except (PyJWTError, ValueError, KeyError, TypeError) as error:
            raise ConfigError("this is neither an access token (sat_…) nor a private one that can be read") from error
        if media_type(read["header"]) != f"application/{TYP}":
            raise ConfigError(f"this is a JWT, but no private access token: its type is not {TYP}")
    if expire_time <= time.time():
        raise ConfigError(f"the token has expired: {time.time() - expire_time:.0f} seconds ago")
    return caller


def _open(token: str, settings: AuthServerConfig) -> AccessToken:
    with opened(settings) as database:
        keys = KeyRing(database, read_installation(settings).key_encryption, time.time)
        keys.take(database.read_here(list_keys))
    try:
        return keys.sealer.open(token)
    except LookupError as error:
        raise ConfigError("the auth server has no keys yet") from error
    except TokenRejected as error:
        raise ConfigError("the access token was not sealed by this auth server, or was changed") from error


def _read(file: Path) -> str:
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from error
    return bearer_token([(AUTHORIZATION, text.strip())]) or text.strip()


def _facts(door: str, path: str, explanation: Explanation) -> dict[str, Any]:
    refusal = explanation.refusal
    return {
        "listener": door,
        "method": path,
        "allowed": refusal is None,
        "reason": refusal.reason if refusal else None,
        "message": refusal.message if refusal else None,
        "steps": [
            {
                "step": point.name,
                "verdict": point.outcome,
                "says": point.says,
                "places": [{"file": place.file, "line": place.line} for place in point.places],
            }
            for point in explanation.points
        ],
    }


def _show(door: str, path: str, explanation: Explanation) -> None:
    refusal = explanation.refusal
    verdict = f"refused: {refusal.code.name} {refusal.reason}" if refusal else "allowed"
    console.print(f"{path} at {door}: {verdict}", soft_wrap=True, markup=False)
    for number, point in enumerate(explanation.points, 1):
        console.print(f"  {number}. {point.name}: {point.outcome}. {point.says}", soft_wrap=True, markup=False)
        for place in point.places:
            console.print(f"     {place}", soft_wrap=True, markup=False)
