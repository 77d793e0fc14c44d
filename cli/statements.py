"""`sekisho statements`: approves partners where no service of yours does so."""

import time
from pathlib import Path
from typing import Annotated

import typer

from cli.output import JsonOption, print_json
from mesh.config import ConfigError
from mesh.ids import new_id
from mesh.security.secret_files import read_private, write_private
from mesh.security.signed_jwt import SigningKey, create_pem
from payments.software_statements import LIFETIME_SECONDS, StatementSigner

_HOURS, _MAX_HOURS = LIFETIME_SECONDS // 3600, 24 * 7
_ID_LENGTH = 64  # what the auth server takes

statements = typer.Typer(
    no_args_is_help=True,
    help="Issue software statements: signed approvals of partners, with which a platform registers them.",
)

KeyArgument = Annotated[Path, typer.Argument(help="The file of the private key, PEM, which only its owner can read.")]


@statements.command()
def key(key: KeyArgument) -> None:
    """Make a key that signs statements, unless the file exists, and print its public half: a JWK set.

    Give that to the auth server, as a file that its statement_issuers name.

    Example: sekisho statements key statement-key.pem > statement-keys.json
    """
    if not key.exists():
        write_private(key, create_pem())
    print_json({"keys": [_read(key).public_jwk()]})


@statements.command()
def issue(  # noqa: PLR0913 - a command's options
    key: KeyArgument,
    issuer: Annotated[str, typer.Option(help="Who approves: as in the auth server's statement_issuers.")],
    audience: Annotated[str, typer.Option(help="The auth server: the issuer in its configuration.")],
    platform_id: Annotated[str, typer.Option(help="The platform that the partner was approved for.")],
    partner_id: Annotated[str | None, typer.Option(help="The partner. Default: a new id.", show_default=False)] = None,
    statement_id: Annotated[
        str | None,
        typer.Option(
            help="The approval's id. One approval registers one client. Default: a new id.", show_default=False
        ),
    ] = None,
    hours: Annotated[int, typer.Option(min=1, max=_MAX_HOURS, help="How long it can be used.")] = LIFETIME_SECONDS
    // 3600,
    *,
    as_json: JsonOption = False,
) -> None:
    """Approve a partner for a platform: print a software statement (RFC 7591 §2.3).

    Hand it to the platform, which registers the partner's client with it. Backends then see the Partner ID.

    Example: sekisho statements issue key.pem --issuer https://a.example --audience https://b.example --platform-id ours
    """
    partner_id = new_id("ptn") if partner_id is None else partner_id
    statement_id = new_id("apv") if statement_id is None else statement_id
    for name, value in (("platform", platform_id), ("partner", partner_id), ("statement", statement_id)):
        if not (value.isascii() and value.isprintable() and 0 < len(value) <= _ID_LENGTH):
            raise ConfigError(f"--{name}-id must be 1 to {_ID_LENGTH} printable ASCII characters")
    signer, now = StatementSigner(_read(key), issuer, audience), time.time()
    statement = signer.sign(statement_id, partner_id, platform_id, now, hours * 3600)
    if as_json:
        told = {"partner_id": partner_id, "platform_id": platform_id, "statement_id": statement_id}
        print_json({**told, "expire_time": int(now) + hours * 3600, "software_statement": statement})
    else:
        print(statement)  # noqa: T201 - this is what the command is for


def _read(key: Path) -> SigningKey:
    try:
        return SigningKey.from_pem(read_private(key))
    except ValueError as error:
        raise ConfigError(f"{key}: {error}; to make a key, run: sekisho statements key NEW_FILE") from error
