"""A gateway's files, with a service that Sekisho does not know."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from grpc_tools import protoc

from cli.main import main

CONTRACT = """
// The bank's licence.
syntax = "proto3";
package bank.v1;
import "bank/v1/shared.proto";

// Keeps accounts.
service Accounts {
  // Opens one.
  rpc Open(OpenRequest) returns (Account);
  rpc Show(ShowRequest) returns (Account);
  rpc Audit(AuditRequest) returns (AuditResponse);
  rpc Forget(ForgetRequest) returns (ForgetResponse);
  rpc Rates(RatesRequest) returns (RatesResponse);
}
// Asks for an account.
message OpenRequest {
  // In whose name.
  string owner = 1;
}
message ShowRequest { string id = 1; }
message AuditRequest { Secret secret = 1; }
message AuditResponse {}
message ForgetRequest {}
message ForgetResponse {}
message RatesRequest {}
message RatesResponse {}
message Secret {}
service Vault { rpc Empty(Secret) returns (Secret); }
"""
SHARED = 'syntax = "proto3"; package bank.v1; message Account { string id = 1; } message Unseen {}'
OPEN, SHOW, AUDIT, FORGET, RATES = (
    f"/bank.v1.Accounts/{name}" for name in ("Open", "Show", "Audit", "Forget", "Rates")
)
GRANTS = {
    "grants": [
        {"methods": [OPEN], "client_types": ["MASTER", "PARTNER"], "scopes": ["accounts.write"]},
        {"methods": [SHOW], "client_types": ["PARTNER"], "scopes": ["accounts.read"]},
        {"methods": [AUDIT], "client_types": ["OPERATOR"], "scopes": ["audit"]},
        {"methods": [RATES], "public": True},
    ]
}
SHUT = {"name": "migration", "methods": [SHOW], "scopes": ["accounts.migrated"]}
RIVAL = {"name": "rival", "methods": [OPEN], "deny": {"partner_ids": ["ptn_9"]}}


@dataclass(frozen=True)
class World:
    """A folder with a gateway's files."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "gateway.yaml"

    def write(self, name: str, content: Any) -> Path:
        (self.folder / name).write_text(yaml.safe_dump(content, sort_keys=False))
        return self.folder / name

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert old in text
        (self.folder / name).write_text(text.replace(old, new, 1))

    def restrict(self, *restrictions: dict[str, Any]) -> None:
        self.write("restrictions.yaml", {"restrictions": list(restrictions)})

    def line(self, name: str, text: str) -> int:
        """Return the first line of a file that has a text."""
        lines = (self.folder / name).read_text().splitlines()
        return next(number for number, line in enumerate(lines, 1) if text in line)


def compiled(folder: Path, *options: str) -> Path:
    """Compile the contract in a folder."""
    (folder / "bank/v1").mkdir(parents=True, exist_ok=True)
    (folder / "bank/v1/accounts.proto").write_text(CONTRACT)
    (folder / "bank/v1/shared.proto").write_text(SHARED)
    out = f"--descriptor_set_out={folder / 'bank.binpb'}"
    assert protoc.main(["protoc", f"-I{folder}", "--include_imports", *options, out, "bank/v1/accounts.proto"]) == 0
    return folder / "bank.binpb"


def a_world(folder: Path) -> World:
    world = World(folder)
    compiled(folder, "--include_source_info")
    channel = {"target": "localhost:1", "ca": "ca.pem"}
    server = {"listen": "localhost:0", "certificate": "a.pem", "private_key": "key.pem"}
    world.write("grants.yaml", GRANTS)
    world.restrict()
    world.write(
        "gateway.yaml",
        {
            "listeners": [
                {"name": "public", "server": server, "client_types": ["MASTER", "PARTNER"]},
                {"name": "staff", "server": server, "client_types": ["OPERATOR"]},
            ],
            "auth": channel,
            "backends": [
                {
                    "name": "bank",
                    "channel": channel,
                    "services": ["bank.v1.Accounts"],
                    "descriptor_sets": ["bank.binpb"],
                },
                {"name": "payments", "channel": channel, "services": ["sekisho.payments.v1.PaymentService"]},
            ],
            "grants": "grants.yaml",
            "restrictions": "restrictions.yaml",
        },
    )
    return world


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Command:
    """Runs `sekisho policy`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *arguments: object) -> Ran:
        self._monkeypatch.setattr(sys, "argv", ["sekisho", "policy", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = self._capsys.readouterr()
        assert "Traceback" not in written.err
        return Ran(int(ended.value.code or 0), written.out, written.err)
