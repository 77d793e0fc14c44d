"""The tables, explanations, differences and expectations of `sekisho policy`."""

import subprocess
import time
import zipfile
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import grpc_tools
import pytest
from grpc_tools import protoc

from authserver.access_tokens import NEW, AccessToken
from authserver.config import AuthServerConfig
from authserver.installation import read_installation
from authserver.keys.ring import KeyRing
from authserver.keys.rotation import KeyKeeper, paces, prepare_keys
from authserver.keys.store import list_keys
from cli.authserver.database import opened
from cli.home import Home
from cli.local.configurations import Ports
from cli.local.preparation import prepare
from cli.policy.revisions import checked_out
from mesh.access.rules import Caller, ClientType
from mesh.config import ConfigError, load
from mesh.security import signed_jwt
from mesh.security.private_tokens import TYP, claims_of
from policy.changes import terms
from policy.expectations import ALLOWED
from policy.policy import read_policy
from tests.unit.cli.policy_world import AUDIT, FORGET, OPEN, RATES, RIVAL, SHOW, SHUT, Command, World, compiled

CAPTURE = "/sekisho.payments.v1.PaymentService/CapturePayment"


def test_the_table_shows_listeners_methods_and_what_restrictions_take(world: World, policy: Command) -> None:
    world.restrict(SHUT, {**RIVAL, "mode": "report"})
    rows = policy("table", "--config", world.config, "--listener", "public", "--json").json
    by_method = {row["method"]: row for row in rows}
    assert by_method[SHOW] == {
        "listener": "public",
        "method": SHOW,
        "public": False,
        "client_types": ["PARTNER"],
        "scopes": ["accounts.read"],
        "restrictions": [{"name": "migration", "mode": "enforce", "takes": "needs accounts.migrated"}],
    }
    assert by_method[OPEN]["restrictions"] == [{"name": "rival", "mode": "report", "takes": "not partner ptn_9"}]
    assert by_method[CAPTURE]["scopes"] == ["payments.write"]
    assert by_method[AUDIT]["client_types"] == by_method[FORGET]["client_types"] == []
    assert by_method[RATES]["public"]
    markdown = policy("table", "--config", world.config, "--format", "markdown").out
    assert f"| `{SHOW}` | PARTNER | accounts.read | needs accounts.migrated [migration] |" in markdown
    assert f"| `{OPEN}` | MASTER PARTNER | accounts.write | (would be) not partner ptn_9 [rival] |" in markdown
    assert "## staff, by " in markdown
    assert "migration" in policy("table", "--config", world.config).out


def test_the_table_shows_a_descriptor_set_alone(world: World, policy: Command) -> None:
    rows = policy("table", "--descriptor-set", world.folder / "bank.binpb", "--format", "json").json
    assert {row["method"] for row in rows} >= {SHOW, "/bank.v1.Vault/Empty"}


def test_a_refusal_is_explained_with_the_line_of_the_rule(world: World, policy: Command) -> None:
    call = ("explain", "bank.v1.Accounts.Show", "--client-type", "PARTNER", "--config", world.config)
    (told,) = policy(*call, "--listener", "public", "--json").json
    assert (told["allowed"], told["reason"]) == (False, "INSUFFICIENT_SCOPE")
    places = {step["step"]: step["places"] for step in told["steps"]}
    assert places["declared"] == [{"file": "bank/v1/accounts.proto", "line": 11}]
    assert places["served"][0]["line"] == world.line("gateway.yaml", "- bank.v1.Accounts")
    grants = {"file": str(world.folder / "grants.yaml"), "line": world.line("grants.yaml", SHOW)}
    assert places["rule"] == places["client type and scopes"] == [grants]
    assert [step["step"] for step in told["steps"]][-1] == "client type and scopes"
    out = policy(*call).out
    assert f"{SHOW} at staff: refused: UNIMPLEMENTED METHOD_NOT_FOUND" in out
    assert "the listener staff admits OPERATOR, none of which the rule names" in out


def test_what_sekishos_own_contract_says_is_explained_with_its_line(world: World, policy: Command) -> None:
    call = ("explain", CAPTURE, "--client-type", "PARTNER", "--scope", "payments.write", "--config", world.config)
    (told,) = policy(*call, "--listener", "public", "--json").json
    assert told["allowed"]
    (rule,) = next(step for step in told["steps"] if step["step"] == "rule")["places"]
    text = (Path(__file__).parents[3] / "protos" / rule["file"]).read_text().splitlines()
    assert "(sekisho.access.v1.rule)" in text[rule["line"] - 1]
    assert told["steps"][-1]["says"].startswith("to payments, with a private access token")


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("/bank.v1.Accounts/Shwo", "has no such method; did you mean /bank.v1.Accounts/Show?"),
        ("/bank.v1.Acounts/Show", "declares the service bank.v1.Acounts; did you mean bank.v1.Accounts?"),
        (FORGET, "it has no rule, neither in its contract nor in grants"),
        ("/sekisho.payments.v1.WalletService/GetWallet", "no backend has sekisho.payments.v1.WalletService among"),
    ],
)
def test_what_is_missing_is_explained(world: World, policy: Command, method: str, says: str) -> None:
    ran = policy("explain", method, "--config", world.config, "--listener", "public")
    assert "METHOD_NOT_FOUND" in ran.out
    assert says in ran.out


def test_a_set_without_line_numbers_is_explained_and_says_so(world: World, policy: Command) -> None:
    compiled(world.folder)
    out = policy("explain", SHOW, "--config", world.config, "--listener", "public").out
    assert "no line numbers: --include_source_info" in out
    assert "MISSING_TOKEN" in out


def test_a_restriction_is_explained_with_its_line(world: World, policy: Command) -> None:
    world.restrict(RIVAL, SHUT)
    call = ("explain", SHOW, "--client-type", "PARTNER", "--scope", "accounts.read", "--config", world.config)
    (told,) = policy(*call, "--listener", "public", "--json").json
    assert told["reason"] == "RESTRICTED"
    place = {"file": str(world.folder / "restrictions.yaml"), "line": world.line("restrictions.yaml", "migration")}
    assert told["steps"][-1]["places"] == [place]


def test_a_token_is_explained_by_whom_it_speaks_for(tmp_path: Path, world: World, policy: Command) -> None:
    home = Home.at(tmp_path / "home")
    prepare(home, Ports(1, 2, 3, 4, 5))
    settings = load(home.config("authserver"), AuthServerConfig)
    shop = Caller("cli_1", ClientType.PARTNER, "shops", "ptn_1", frozenset({"accounts.read"}))
    with opened(settings) as database:
        installation = read_installation(settings)
        keeper = KeyKeeper(installation.key_encryption, paces(settings), installation.trail)
        database.run_here(lambda connection: prepare_keys(connection, keeper, int(time.time() * 1000)))
        keys = KeyRing(database, installation.key_encryption, time.time)
        keys.take(database.read_here(list_keys))
    token, old = (keys.sealer.seal(AccessToken(shop, "j", int(time.time()) + age, NEW)) for age in (600, -1))
    key = signed_jwt.SigningKey.from_pem(signed_jwt.create_pem())
    private = signed_jwt.sign(key, TYP, {**claims_of(shop), "exp": time.time() + 600})
    file = tmp_path / "token"

    def explained(text: str, *more: str) -> Any:
        file.write_text(f"{text}\n")
        where = ("--config", world.config, "--home", home.path, "--listener", "public")
        return policy("explain", SHOW, "--token-file", file, *where, *more, "--json")

    for text in (token, private, f"Bearer {token}", f"bearer  {token}"):
        assert explained(text).json[0]["allowed"]
    assert "the token has expired" in explained(old).err
    assert "was not sealed by this auth server" in explained(token[:-1] + "-").err
    assert "neither an access token" in explained("nonsense").err
    assert "a token says itself whom it speaks for" in explained(token, "--scope", "a").err


CHANGES = [
    ("grants.yaml", "- accounts.read", "- accounts.write", {("PARTNER", True), ("PARTNER", False)}, 3),
    ("grants.yaml", "  scopes:\n  - accounts.read\n", "", {("PARTNER", True)}, 3),
    ("grants.yaml", "  - MASTER\n", "", {("MASTER", False)}, 0),
    ("grants.yaml", "  - OPERATOR\n", "  - OPERATOR\n  - PARTNER\n", {("PARTNER", True)}, 3),
    ("grants.yaml", "- MASTER", "- OPERATOR", {("MASTER", False), ("OPERATOR", True)}, 3),
    (
        "restrictions.yaml",
        "ptn_9",
        "ptn_8",
        {("PARTNER", True), ("PARTNER", False)},
        3,
    ),
    ("grants.yaml", "public: true", "client_types: [MASTER]", None, 0),
]


@pytest.mark.parametrize(("file", "old", "new", "who", "status"), CHANGES)
def test_who_gains_and_who_loses_is_told_and_a_gain_has_a_status(
    world: World, policy: Command, file: str, old: str, new: str, who: Any, status: int
) -> None:
    world.restrict(RIVAL)
    other = world.folder / "other"
    other.mkdir()
    for name in ("gateway.yaml", "grants.yaml", "restrictions.yaml", "bank.binpb"):
        (other / name).write_bytes((world.folder / name).read_bytes())
    World(other).edit(file, old, new)
    ran = policy("diff", world.config, other / "gateway.yaml", "--json")
    assert ran.status == status
    if who is not None:
        assert {(change["who"], change["gains"]) for change in ran.json if "bank" in change["method"]} == who
    assert policy("diff", world.config, world.config).out == "nobody gains or loses anything\n"


def test_nobody_may_call_what_is_closed(world: World) -> None:
    world.restrict({"name": "night", "methods": ["/bank.v1.Accounts/*"], "closed": True})
    policy = read_policy(world.config)
    assert all(terms(policy, "public", path, who) is None for path in (OPEN, RATES) for who in [None, *ClientType])


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@localhost", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)  # noqa: S607


def test_git_revisions_are_compared_without_touching_the_working_tree(world: World, policy: Command) -> None:
    git(world.folder, "init", "-q")
    git(world.folder, "add", "-A")
    git(world.folder, "commit", "-qm", "one")
    world.edit("grants.yaml", "- OPERATOR\n", "- OPERATOR\n  - PARTNER\n")
    ran = policy("diff", "--git", "HEAD", "gateway.yaml")
    assert (ran.status, ran.out) == (3, f"gains: PARTNER at public, {AUDIT}: may call now, with audit\n")
    git(world.folder, "commit", "-qam", "two")
    world.edit("grants.yaml", "- OPERATOR\n", "")
    assert policy("diff", "--git", "HEAD~1", "--git", "HEAD", world.config).status == 3
    assert policy("diff", "--git", "HEAD", "--git", "HEAD~1", world.config).status == 0
    status = subprocess.run(["git", "status", "-s"], cwd=world.folder, capture_output=True, check=True)  # noqa: S607
    assert status.stdout == b" M grants.yaml\n"
    assert "git knows no commit nonsense" in policy("diff", "--git", "nonsense", "gateway.yaml").err
    assert "is not in the revision HEAD" in policy("diff", "--git", "HEAD", "none.yaml").err
    with checked_out("HEAD", world.config) as file:
        assert file.read_text() == world.config.read_text()
    assert not file.exists()


def test_a_file_outside_of_any_repository_has_no_revisions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a git repository"), checked_out("HEAD", tmp_path / "gateway.yaml"):
        pass


EXPECTED = [
    {"method": SHOW, "listener": "public", "client_type": "PARTNER", "scopes": ["accounts.read"], "expect": ALLOWED},
    {"method": SHOW, "listener": "public", "client_type": "PARTNER", "expect": "INSUFFICIENT_SCOPE"},
    {"method": SHOW, "listener": "public", "expect": "MISSING_TOKEN"},
    {"method": SHOW, "listener": "staff", "expect": "METHOD_NOT_FOUND"},
    {"method": RATES, "expect": ALLOWED},
]


def test_expected_decisions_are_compared_and_written_as_junit_does(world: World, policy: Command) -> None:
    file = world.write("expect.yaml", {"expectations": EXPECTED})
    ran = policy("test", file, "--config", world.config)
    assert (ran.status, ran.out) == (0, "6 as expected, 0 not\n")  # the last is for each listener
    world.restrict(SHUT)
    ran = policy("test", file, "--config", world.config, "--junit", "junit.xml")
    assert ran.status == 1
    assert (
        f"expect.yaml:2: PARTNER with accounts.read calls {SHOW} at public: expected ALLOWED, got RESTRICTED" in ran.out
    )
    suite = ET.parse(world.folder / "junit.xml").getroot()  # noqa: S314 - written here
    assert (suite.get("tests"), suite.get("failures")) == ("6", "1")
    failures = suite.findall("testcase/failure")
    assert [failure.get("message") for failure in failures] == ["expected ALLOWED, got RESTRICTED"]
    assert [each["met"] for each in policy("test", file, "--config", world.config, "--json").json].count(False) == 1


@pytest.mark.parametrize(
    ("expectation", "says"),
    [
        ({"method": SHOW, "expect": "ALOWED"}, "expect.yaml:2: expectations[0]: expect must be one of ALLOWED"),
        ({"method": f"{SHOW}s", "expect": ALLOWED}, f"declares {SHOW}s; did you mean {SHOW}?"),
        ({"method": SHOW, "expect": ALLOWED, "listener": "pubilc"}, "no listener pubilc; did you mean public?"),
        ({"method": SHOW, "expect": ALLOWED, "scopes": ["a"]}, "say of what client_type"),
        ({"method": SHOW, "expect": ALLOWED, "client": "a"}, "unknown field `client`"),
    ],
)
def test_an_expectation_that_makes_no_sense_is_refused(
    world: World, policy: Command, expectation: dict[str, Any], says: str
) -> None:
    file = world.write("expect.yaml", {"expectations": [expectation]})
    ran = policy("test", file, "--config", world.config)
    assert ran.status == 2
    assert says in ran.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["table", "--listener", "pubic"], "there is no listener pubic; did you mean public?"),
        (["table", "--json", "--format", "text"], "--json and --format text exclude each other"),
        (["table", "--descriptor-set", "bank.binpb"], "--config and --descriptor-set exclude each other"),
        (["explain", SHOW, "--scope", "a"], "say of what --client-type"),
        (["explain", SHOW, "--token-file", "none"], "none: can't be read"),
        (["test", "none.yaml"], "none.yaml"),
        (["bundle", "--output", "gateway.yaml"], "gateway.yaml is there already"),
        (["bundle", "--output", "no/such/folder"], "no/such/folder: can't be written: No such file"),
        (["bundle", "--output", "b", "--listener", "pubic"], "there is no listener pubic"),
        (["check", "--descriptor-set", "bank.binpb"], "--config and --descriptor-set exclude each other"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(
    world: World, policy: Command, arguments: list[str], says: str
) -> None:
    ran = policy(*arguments, "--config", world.config)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["one.binpb"], "there must be two files"),
        (["--git", "HEAD", "a.yaml", "b.yaml"], "with --git there must be one file"),
        (["none.binpb", "bank.binpb"], "none.binpb: No such file"),
        (["gateway.yaml", "grants.yaml"], "grants.yaml: can't read"),
        (["bank.binpb", "restrictions.yaml"], "restrictions.yaml: can't read"),
    ],
)
def test_what_can_not_be_compared_is_said_in_one_line(
    world: World, policy: Command, files: list[str], says: str
) -> None:
    assert world.config.exists()
    ran = policy("diff", *files)
    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert says in ran.err


def test_what_a_gateway_would_not_start_with_is_found_with_its_line_and_what_was_meant(
    world: World, policy: Command
) -> None:
    assert policy("check", "--config", world.config).status == 0
    world.restrict({**SHUT, "methods": [f"{SHOW}w"]}, {**RIVAL, "listeners": ["pubilc"]})
    world.edit("gateway.yaml", "PaymentService", "PaymentServise")
    ran = policy("check", "--config", world.config)
    assert ran.status == 1
    line = world.line("gateway.yaml", "PaymentServise")
    assert f"gateway.yaml:{line}: error: backend payments" in ran.out
    assert "did you mean sekisho.payments.v1.PaymentService?" in ran.out
    world.edit("gateway.yaml", "PaymentServise", "PaymentService")
    out = policy("check", "--config", world.config).out
    assert f"did you mean {SHOW}?" in out
    assert "did you mean public?" in out


def test_what_may_not_be_meant_is_a_warning_that_fails_if_asked_to(world: World, policy: Command) -> None:
    world.edit("gateway.yaml", "- OPERATOR", "- WALLET")
    found = policy("check", "--config", world.config, "--json").json
    assert {(each["kind"], each["file"], each["line"]) for each in found} == {
        ("no-rule", "bank/v1/accounts.proto", 13),
        ("unreachable", str(world.folder / "grants.yaml"), world.line("grants.yaml", AUDIT)),
    }
    assert policy("check", "--config", world.config, "--strict").status == 1


@pytest.mark.parametrize("output", ["handed", "handed.zip"])
def test_a_bundle_has_what_a_partner_may_call_and_compiles_by_itself(
    world: World, policy: Command, output: str
) -> None:
    ran = policy("bundle", "--config", world.config, "--client-type", "PARTNER", "--output", output, "--json")
    assert set(ran.json["methods"]) >= {OPEN, SHOW, RATES}
    folder = world.folder / output
    if output.endswith(".zip"):
        folder = world.folder / "unpacked"
        zipfile.ZipFile(world.folder / output).extractall(folder)
    text = (folder / "bank/v1/accounts.proto").read_text()
    assert "// Keeps accounts." in text
    assert not any(hidden in text for hidden in ("Audit", "Forget", "Secret", "Vault"))
    assert "Unseen" not in (folder / "bank/v1/shared.proto").read_text()
    names = [str(each.relative_to(folder)) for each in folder.rglob("*.proto")]
    standard = Path(grpc_tools.__file__).parent / "_proto"
    out = f"--descriptor_set_out={folder / 'out'}"
    assert protoc.main(["protoc", f"-I{folder}", f"-I{standard}", out, *names]) == 0
