"""`sekisho statements`: what it signs, the auth server takes; what it can't sign, it says in one line."""

import json
from pathlib import Path

import pytest

from authserver.clients.software_statements import StatementIssuer, verify_statement
from authserver.errors import InvalidSoftwareStatement
from mesh.security import signed_jwt
from tests.mesh import sekisho

ISSUER, AUDIENCE = "https://approvals.example", "https://auth.example"


def issued(key: Path, *options: str) -> dict[str, str]:
    about = ["--issuer", ISSUER, "--audience", AUDIENCE, "--platform-id", "shops"]
    done = sekisho("statements", "issue", str(key), *about, "--json", *options)
    assert (done.returncode, done.stderr) == (0, "")
    told: dict[str, str] = json.loads(done.stdout)
    return told


def test_the_auth_server_takes_a_statement_as_long_as_it_is_good(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    jwks = json.loads(sekisho("statements", "key", str(key)).stdout)
    assert jwks == json.loads(sekisho("statements", "key", str(key)).stdout)  # it stays the same key
    assert not key.stat().st_mode & 0o077
    issuers = (StatementIssuer(ISSUER, signed_jwt.public_keys(jwks)),)

    told = issued(key, "--partner-id", "ptn_1", "--hours", "2")
    expires = int(told["expire_time"])
    good = verify_statement(told["software_statement"], issuers, AUDIENCE, expires - 60)
    assert (good.partner_id, good.platform_id, good.jti) == ("ptn_1", "shops", told["statement_id"])
    for audience, now in ((AUDIENCE, expires + 60), ("https://other.example", expires - 60)):
        with pytest.raises(InvalidSoftwareStatement):
            verify_statement(told["software_statement"], issuers, audience, now)
    another = issued(key)
    assert len({told["partner_id"], another["partner_id"]}) == len({told["statement_id"], another["statement_id"]}) == 2


@pytest.mark.parametrize(
    ("content", "mode", "options"),
    [
        (None, 0, []),
        ("no key", 0o600, []),
        ("readable by all", 0o644, []),
        ("a key", 0o600, ["--partner-id", "x" * 65]),
        ("a key", 0o600, ["--partner-id", ""]),
        ("a key", 0o600, ["--statement-id", "ü"]),
    ],
)
def test_a_mistake_is_answered_in_one_line(tmp_path: Path, content: str | None, mode: int, options: list[str]) -> None:
    key = tmp_path / "key.pem"
    if content is not None:
        key.write_bytes(signed_jwt.create_pem() if content == "a key" else content.encode())
        key.chmod(mode)
    about = ["--issuer", ISSUER, "--audience", AUDIENCE, "--platform-id", "shops"]
    done = sekisho("statements", "issue", str(key), *about, *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
