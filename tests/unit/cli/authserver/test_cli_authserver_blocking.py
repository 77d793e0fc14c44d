"""`sekisho clients`, and what shuts clients, partners and platforms out."""

import getpass
import json
import os
import pwd
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from authserver.access_tokens import NEW
from authserver.clients.register import mint
from authserver.clients.secrets import Peppers
from authserver.clients.store.blocks import is_blocked
from authserver.clients.store.clients import Client, add_clients, find_client
from authserver.clients.store.platforms import add_partner
from authserver.clients.store.secrets import record_uses
from cli.home import Home, read_credentials
from cli.local.configurations import Ports
from cli.local.preparation import prepare
from cli.main import main
from mesh.access.revocation import Subject
from mesh.access.rules import ClientType
from mesh.storage.database import Database
from tests.unit.authserver.assertions import BY_BOTH, BY_EC, EC_JWK, RSA_JWK

SHOP = Client(
    client_id="cli_00000000000000000000000000",
    client_type=ClientType.PARTNER,
    client_name="[Tea] shop",
    platform_id="shops",
    partner_id="ptn_tea",
    scopes=frozenset({"payments.read"}),
    epochs=NEW,
    create_time=1_800_000_000_000,
)
Run = Callable[..., tuple[int | str | None, str, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home.at(tmp_path_factory.mktemp("home"))
    prepare(home, Ports.choose(7443))
    return home


@pytest.fixture
def database(home: Home) -> Iterator[Database]:
    """Return the auth server's database, as it was prepared and with one shop in it."""
    database = Database(home.database("authserver"))
    minted = mint(SHOP, Peppers({1: bytes(32)}, 1)).client
    database.run_here(lambda connection: add_partner(connection, "ptn_tea", "shops", 1))
    database.run_here(lambda connection: add_clients(connection, [minted]))
    yield database
    for statement in (
        "DELETE FROM client_secrets WHERE client_id IN (SELECT client_id FROM clients WHERE platform_id = 'master-2')",
        "DELETE FROM clients WHERE platform_id = 'master-2'",
        "DELETE FROM platforms WHERE platform_id = 'master-2'",
        "DELETE FROM client_secrets WHERE client_id LIKE 'cli_000%'",
        "DELETE FROM clients WHERE client_id LIKE 'cli_000%'",
        "DELETE FROM partners",
        "DELETE FROM blocks",
    ):
        database.run_here(lambda connection, statement=statement: connection.execute(text(statement)))
    database.close()


@pytest.fixture
def sekisho(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command on the home; return its status and what it wrote."""

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["sekisho", *arguments, "--home", str(home.path)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def found(database: Database, client_id: str = SHOP.client_id) -> Client:
    client = database.read_here(lambda connection: find_client(connection, client_id))
    assert client is not None
    return client


def last_line(database: Database) -> tuple[str, str, str]:
    query = text("SELECT actor, action, subject FROM audit_log ORDER BY sequence DESC LIMIT 1")
    return tuple(database.read_here(lambda connection: connection.execute(query).one()))  # type: ignore[return-value]


CASES = [("clients", SHOP.client_id), ("partners", "ptn_tea"), ("platforms", "shops")]


@pytest.mark.parametrize(("group", "subject"), CASES)
def test_who_is_blocked_and_unblocked_stands_so_in_the_database_and_in_the_audit_log(
    sekisho: Run, database: Database, group: str, subject: str
) -> None:
    noun, actor = group[:-1], f"operator:{getpass.getuser()}"
    epochs = found(database).epochs
    blocked = (0, f"{noun} {subject}: blocked\n", "")
    assert sekisho(group, "block", subject) == blocked
    assert found(database).blocked
    assert found(database).epochs != epochs
    assert last_line(database) == (actor, f"{noun}.block", subject)
    assert sekisho(group, "block", subject) == blocked
    code, out, _ = sekisho(group, "unblock", subject, "--json")
    assert (code, json.loads(out)) == (0, {f"{noun}_id": subject, "blocked": False, "known": True})
    assert not found(database).blocked
    assert last_line(database) == (actor, f"{noun}.unblock", subject)


def test_nobody_acts_under_another_name_by_the_environment(
    sekisho: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "bob")
    sekisho("clients", "revoke-tokens", SHOP.client_id)
    assert last_line(database)[0] == f"operator:{pwd.getpwuid(os.getuid()).pw_name}"


@pytest.mark.parametrize(("group", "subject"), CASES)
def test_revoking_tokens_raises_the_epoch(sekisho: Run, database: Database, group: str, subject: str) -> None:
    epochs = found(database).epochs
    code, out, _ = sekisho(group, "revoke-tokens", subject, "--json")
    assert (code, json.loads(out)) == (0, {f"{group[:-1]}_id": subject, "revoked": True, "known": True})
    assert found(database).epochs != epochs
    assert not found(database).blocked
    assert last_line(database)[1:] == (f"{group[:-1]}.revoke_tokens", subject)


def test_a_partner_that_is_not_known_yet_is_blocked_with_a_word_about_it(sekisho: Run, database: Database) -> None:
    code, out, _ = sekisho("partners", "block", "ptn_new")
    assert (code, out) == (
        0,
        "partner ptn_new: blocked\nNo client of this partner is registered yet. Is the id right?\n",
    )
    assert database.read_here(lambda connection: is_blocked(connection, Subject.PARTNER, "ptn_new"))


@pytest.mark.parametrize("command", ["block", "unblock", "revoke-tokens"])
def test_who_is_not_there_is_named(sekisho: Run, database: Database, command: str) -> None:
    before = last_line(database)
    assert sekisho("clients", command, "cli_none") == (2, "", "sekisho: there is no client cli_none\n")
    assert sekisho("platforms", command, "none") == (2, "", "sekisho: there is no platform none\n")
    for wrong in ("", "p" * 65, "ptn\n"):
        assert sekisho("partners", command, wrong)[:2] == (2, "")
    assert last_line(database) == before


def test_clients_are_listed(sekisho: Run, home: Home, database: Database) -> None:
    master, _ = read_credentials(home.folder("shops") / "master-credentials.json")
    code, out, _ = sekisho("clients", "list", "--json")
    listed = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [client["client_type"] for client in listed].count("PARTNER") == 1
    assert {client["client_type"] for client in listed} == {"MASTER", "PARTNER", "OPERATOR", "WALLET"}
    assert listed[-1] == {
        "client_id": SHOP.client_id,
        "client_type": "PARTNER",
        "client_name": "[Tea] shop",
        "platform_id": "shops",
        "partner_id": "ptn_tea",
        "scope": "payments.read",
        "token_endpoint_auth_method": "client_secret_basic",
        "create_time": "2027-01-15T08:00:00.000Z",
        "blocked": False,
    }
    sekisho("clients", "block", SHOP.client_id)
    code, out, _ = sekisho("clients", "list", "--platform", "shops")
    first, second = out.splitlines()
    assert first.split()[:3] == [master, "MASTER", "shops"]
    assert second.split() == [SHOP.client_id, "PARTNER", "ptn_tea", "[Tea]", "shop", "BLOCKED"]
    assert found(database).blocked


def test_a_client_is_shown_with_the_use_of_its_secrets_and_what_it_is_blocked_by(
    sekisho: Run, database: Database
) -> None:
    secret_id = found(database).secrets[0].secret_id
    database.run_here(lambda connection: record_uses(connection, [(secret_id, 1_800_000_060_000)]))
    sekisho("partners", "block", "ptn_tea")
    code, out, _ = sekisho("clients", "show", SHOP.client_id, "--json")
    shown: dict[str, Any] = json.loads(out)
    assert (code, shown["blocked"], shown["blocked_by"], shown["keys"]) == (0, True, ["partner"], [])
    assert shown["secrets"] == [
        {
            "secret_id": secret_id,
            "create_time": "2027-01-15T08:00:00.000Z",
            "expire_time": None,
            "last_use_time": "2027-01-15T08:01:00.000Z",
        }
    ]
    _, out, _ = sekisho("clients", "show", SHOP.client_id)
    assert re.search("^client_name +\\[Tea] shop$", out, re.MULTILINE)
    assert re.search("^blocked_by +partner$", out, re.MULTILINE)
    assert f"secret_id {secret_id}" in out
    assert "expire_time never" in out
    assert sekisho("clients", "show", "cli_none") == (2, "", "sekisho: there is no client cli_none\n")


def test_secrets_are_never_shown(sekisho: Run, home: Home) -> None:
    client_id, secret = read_credentials(home.credentials / "operator.json")
    for arguments in (("list",), ("list", "--json"), ("show", client_id), ("show", client_id, "--json")):
        assert secret.removeprefix("scs_") not in sekisho("clients", *arguments)[1]


def test_the_secret_of_a_master_client_is_replaced_and_its_tokens_end(
    sekisho: Run, home: Home, database: Database, tmp_path: Path
) -> None:
    client_id, old = read_credentials(home.folder("shops") / "master-credentials.json")
    before, file = found(database, client_id), tmp_path / "new.json"
    code, out, _ = sekisho("clients", "rotate-secret", client_id, "--credentials", str(file), "--json")
    assert (code, json.loads(out)["credentials"]) == (0, str(file))
    (named, new), after = read_credentials(file), found(database, client_id)
    assert (named, new != old, file.stat().st_mode & 0o777) == (client_id, True, 0o600)
    peppers = Peppers({1: (home.folder("authserver") / "pepper").read_bytes()}, 1)
    assert [peppers.matches(new, secret.digest) for secret in after.secrets] == [True]
    assert after.epochs != before.epochs
    actor = f"operator:{getpass.getuser()}"
    assert last_line(database) == (actor, "client_secret.rotate", client_id)
    assert sekisho("clients", "rotate-secret", client_id, "--credentials", str(file))[0] == 2


def test_with_an_overlap_the_old_secret_works_on_and_no_token_ends(
    sekisho: Run, home: Home, database: Database
) -> None:
    client_id, _ = read_credentials(home.credentials / "operator.json")
    before = found(database, client_id)
    code, out, _ = sekisho("clients", "rotate-secret", client_id, "--overlap-hours", "24", "--json")
    assert (code, json.loads(out)["client_secret"].startswith("scs_")) == (0, True)
    after = found(database, client_id)
    assert after.epochs == before.epochs
    assert [(secret.secret_id, bool(secret.expire_time)) for secret in after.secrets[1:]] == [
        (before.secrets[0].secret_id, True)
    ]


def test_a_partners_secret_is_its_platforms_to_replace(sekisho: Run, database: Database) -> None:
    before = found(database)
    code, out, err = sekisho("clients", "rotate-secret", SHOP.client_id)
    assert (code, out, "RotateClientSecret" in err) == (2, "", True)
    assert found(database) == before
    assert sekisho("clients", "rotate-secret", "cli_none") == (2, "", "sekisho: there is no client cli_none\n")


@pytest.fixture
def jwks(tmp_path: Path) -> Path:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [EC_JWK, RSA_JWK]}), encoding="utf-8")
    return file


@pytest.mark.parametrize("kind", ["master", "operator", "wallet"])
def test_a_client_with_keys_is_created_without_a_secret(
    sekisho: Run, database: Database, jwks: Path, tmp_path: Path, kind: str
) -> None:
    file = tmp_path / "client.json"
    created = sekisho("clients", "create", kind, f"{kind}-2", "--jwks", str(jwks), "--credentials", str(file), "--json")
    told = json.loads(created[1])
    assert (created[0], told["token_endpoint_auth_method"], "client_secret" in told) == (0, "private_key_jwt", False)
    assert json.loads(file.read_text()) == {"client_id": told["client_id"]}
    client = found(database, told["client_id"])
    assert (client.authentication, client.secrets) == (BY_BOTH, ())
    shown = json.loads(sekisho("clients", "show", client.client_id, "--json")[1])
    assert shown["keys"] == [{"kid": "ec", "alg": "ES256"}, {"kid": "rsa", "alg": "RS256"}]
    code, out, err = sekisho("clients", "rotate-secret", client.client_id)
    assert (code, out, "sekisho clients update" in err) == (2, "", True)
    assert found(database, client.client_id) == client


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_client_with_a_secret_is_created_for_the_method_that_is_asked_for(
    sekisho: Run, database: Database, method: str
) -> None:
    _, out, _ = sekisho("clients", "create", "operator", "bob", "--token-endpoint-auth-method", method, "--json")
    told = json.loads(out)
    client = found(database, told["client_id"])
    assert (told["token_endpoint_auth_method"], client.authentication.method) == (method, method)
    assert told["client_secret"].startswith("scs_")


def test_how_a_client_authenticates_is_updated(sekisho: Run, home: Home, database: Database, jwks: Path) -> None:
    client_id = json.loads(sekisho("clients", "create", "operator", "carol", "--json")[1])["client_id"]
    before = found(database, client_id)

    def updated(*arguments: str) -> tuple[dict[str, Any], Client]:
        code, out, _ = sekisho("clients", "update", client_id, *arguments, "--json")
        assert code == 0
        assert last_line(database)[1:] in {("client.update", client_id), ("client_secret.rotate", client_id)}
        return json.loads(out), found(database, client_id)

    told, by_post = updated("--token-endpoint-auth-method", "client_secret_post")
    assert ("client_secret" in told, by_post.secrets, by_post.epochs) == (False, before.secrets, before.epochs)
    told, by_keys = updated("--jwks", str(jwks))
    assert ("client_secret" in told, by_keys.authentication, by_keys.secrets) == (False, BY_BOTH, ())
    assert by_keys.epochs != before.epochs
    jwks.write_text(json.dumps({"keys": [EC_JWK]}), encoding="utf-8")
    assert updated("--jwks", str(jwks))[1].authentication == BY_EC
    told, by_secret = updated("--token-endpoint-auth-method", "client_secret_basic")
    peppers = Peppers({1: (home.folder("authserver") / "pepper").read_bytes()}, 1)
    assert [peppers.matches(told["client_secret"], secret.digest) for secret in by_secret.secrets] == [True]


def test_what_can_not_be_had_of_a_client_is_refused_in_one_line(sekisho: Run, database: Database, jwks: Path) -> None:
    jwks.with_name("none.json").write_bytes(b"\xff")
    for arguments, words in (
        (("create", "operator", "dave", "--token-endpoint-auth-method", "private_key_jwt"), "needs jwks"),
        (
            ("create", "operator", "dave", "--token-endpoint-auth-method", "client_secret_post", "--jwks", str(jwks)),
            "a secret has no keys",
        ),
        (("create", "operator", "dave", "--jwks", str(jwks.with_name("none.json"))), "can't be read"),
        (("update", SHOP.client_id, "--jwks", str(jwks)), "UpdateClient"),
        (("update", "cli_none", "--jwks", str(jwks)), "there is no client cli_none"),
        (("update", "cli_none"), "say what to update"),
    ):
        before = last_line(database)
        code, out, err = sekisho("clients", *arguments)
        assert (code, out, words in err, err.count("\n")) == (2, "", True, 1), err
        assert last_line(database) == before


def test_a_platforms_quota_is_shown_and_changed(sekisho: Run, database: Database) -> None:
    def shown() -> Any:
        return json.loads(sekisho("platforms", "list", "--json")[1])

    assert (shown()["platform_id"], shown()["clients"], shown()["blocked"]) == ("shops", 1, False)
    assert sekisho("platforms", "update", "shops", "--max-clients", "7") == (
        0,
        f"platform shops: at most 7 clients, with {shown()['partner_scope']}\n",
        "",
    )
    assert shown()["max_clients"] == 7
    assert sekisho("platforms", "list")[1].split() == ["shops", "1", "of", "7", "clients"]
    assert last_line(database)[1:] == ("platform.update", "shops")
    assert sekisho("platforms", "update", "none", "--max-clients", "7") == (
        2,
        "",
        "sekisho: there is no platform none\n",
    )
    assert sekisho("platforms", "update", "shops", "--max-clients", "0")[0] == 2


def test_a_platforms_ceiling_is_raised_and_never_lowered(sekisho: Run, database: Database) -> None:
    def shown() -> Any:
        return json.loads(sekisho("platforms", "list", "--json")[1])

    before = shown()
    added = sekisho("platforms", "update", "shops", "--add-partner-scope", "greetings.write", "--json")
    after = {**before, "partner_scope": f"greetings.write {before['partner_scope']}"}
    assert (added[0], json.loads(added[1])["partner_scope"]) == (0, after["partner_scope"])
    assert shown() == after
    assert last_line(database)[1:] == ("platform.update", "shops")
    for nothing in ([], ["--add-partner-scope", "greetings.write"]):
        line = last_line(database)
        assert sekisho("platforms", "update", "shops", *nothing)[0] == 0
        assert (shown(), last_line(database)) == (after, line)
    for bad in ("a  b", "x" * 399):
        assert sekisho("platforms", "update", "shops", "--add-partner-scope", bad)[0] == 2
        assert shown() == after


def test_a_database_that_is_not_there_is_not_made(sekisho: Run, tmp_path: Path, home: Home) -> None:
    config = tmp_path / "config.yaml"
    settings = home.config("authserver").read_text().replace("database.db", "none.db")
    config.write_text(settings)
    for key in home.folder("authserver").iterdir():
        if key.is_file() and key.suffix != ".yaml":
            (tmp_path / key.name).symlink_to(key)
    code, _, err = sekisho("clients", "list", "--config", str(config))
    assert (code, "none.db is not there" in err, err.count("\n")) == (2, True, 1)
    assert not (home.folder("authserver") / "none.db").exists()
