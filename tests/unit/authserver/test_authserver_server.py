import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from authserver.config import AuthServerConfig, StatementIssuerConfig
from authserver.provision_client import provision_master, provision_staff
from authserver.register_client import Credentials
from authserver.server import running
from authserver.servicers.exchange import ACCESS_TOKEN_TYPE, TOKEN_EXCHANGE
from authserver.software_statements import TYP
from mesh import pki
from mesh.access.rules import ClientType
from mesh.channel import open_channel
from mesh.config import ChannelConfig, ConfigError, ServerConfig
from mesh.database import Database
from mesh.error_info import read_error_info
from mesh.secret_files import create_key, write_private
from mesh.signed_jwt import SigningKey, create_pem, sign
from mesh.tls import dns_name
from sekisho.auth.v1 import (
    client_registration_service_pb2,
    client_registration_service_pb2_grpc,
    exchange_service_pb2,
    exchange_service_pb2_grpc,
    key_service_pb2,
    key_service_pb2_grpc,
    token_service_pb2,
    token_service_pb2_grpc,
)
from tests.unit.authserver.company import CEILING, MASTER_SCOPES

PAYMENTS_KEY = SigningKey.from_pem(create_pem())


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    company = pki.create_authority(folder, "company")
    for workload in ("authserver", "gateway", "payments"):
        pki.issue_workload(company, folder, workload)
    return folder


@pytest.fixture
def config(certificates: Path, database: Database, database_url: str, tmp_path: Path) -> AuthServerConfig:
    del database  # migrated
    for name in ("kek", "pepper"):
        create_key(tmp_path / name)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [PAYMENTS_KEY.public_jwk()]}))
    return AuthServerConfig(
        server=ServerConfig(
            listen="127.0.0.1:0",
            certificate=certificates / "authserver.pem",
            private_key=certificates / "authserver-key.pem",
            client_ca=certificates / "company.pem",
        ),
        database=database_url,
        issuer="authserver.example",
        audiences=frozenset({"authserver", "payments"}),
        key_encryption_key=tmp_path / "kek",
        pepper=tmp_path / "pepper",
        statement_issuers=(StatementIssuerConfig(iss="payments", jwks=tmp_path / "jwks.json"),),
    )


class Caller:
    """A workload with a channel to the auth server."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.tokens = token_service_pb2_grpc.TokenServiceStub(channel)
        self.exchanges = exchange_service_pb2_grpc.ExchangeServiceStub(channel)
        self.registrations = client_registration_service_pb2_grpc.ClientRegistrationServiceStub(channel)
        self.keys = key_service_pb2_grpc.KeyServiceStub(channel)

    async def token(self, credentials: Credentials, grant_type: str = "client_credentials") -> str:
        request = token_service_pb2.IssueTokenRequest(
            grant_type=grant_type,
            client_id=credentials.client.client_id,
            client_secret=credentials.client_secret,
        )
        answer = await self.tokens.IssueToken(request)
        return str(answer.access_token)

    async def exchange(self, token: str, audience: str = "authserver", **changes: str) -> Any:
        fields = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": ACCESS_TOKEN_TYPE, **changes}
        request = exchange_service_pb2.ExchangeTokenRequest(subject_token=token, audience=audience, **fields)
        return await self.exchanges.ExchangeToken(request)

    async def as_client(self, credentials: Credentials) -> list[tuple[str, str]]:
        exchanged = await self.exchange(await self.token(credentials))
        return [("authorization", f"Bearer {exchanged.access_token}")]


def statement(**changes: object) -> str:
    now = int(time.time())
    claims = {
        "iss": "payments",
        "aud": "authserver.example",
        "iat": now,
        "exp": now + 3600,  # statements in tables are made long before their test
        "jti": "app_1",
        "partner_id": "ptr_1",
        "platform_id": "shops",
    }
    return sign(PAYMENTS_KEY, TYP, {**claims, **changes})


@asynccontextmanager
async def calling(certificates: Path, port: int, workload: str) -> AsyncIterator[Caller]:
    channel_config = ChannelConfig(
        target=f"127.0.0.1:{port}",
        ca=certificates / "company.pem",
        server_name=dns_name("authserver"),
        certificate=certificates / f"{workload}.pem",
        private_key=certificates / f"{workload}-key.pem",
    )
    async with open_channel(channel_config) as channel:
        yield Caller(channel)


Story = Callable[[Caller, Caller], Coroutine[Any, Any, None]]
Play = Callable[[Story], None]


@pytest.fixture
def play(config: AuthServerConfig, certificates: Path) -> Play:
    """Run a story of the gateway and of payments, which both call the auth server."""

    async def run(story: Story) -> None:
        async with (
            running(config) as server,
            calling(certificates, server.port, "gateway") as gateway,
            calling(certificates, server.port, "payments") as payments,
        ):
            await story(gateway, payments)

    return lambda story: asyncio.run(run(story))


@pytest.fixture
def shops(config: AuthServerConfig, database: Database) -> Credentials:
    pepper = config.pepper.read_bytes()
    return database.run_here(
        lambda connection: provision_master(
            connection, pepper, "shops", scopes=MASTER_SCOPES, ceiling=CEILING, now_ms=1_800_000_000_500
        )
    )


@pytest.fixture
def operator(config: AuthServerConfig, database: Database) -> Credentials:
    pepper, scopes = config.pepper.read_bytes(), frozenset({"clients.read", "clients.write"})
    return database.run_here(
        lambda connection: provision_staff(connection, pepper, ClientType.OPERATOR, "alice", scopes=scopes, now_ms=0)
    )


async def refusal(call: Coroutine[Any, Any, Any] | Any) -> tuple[str, str]:
    """Return status and reason of the error that a call ends with."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, read_error_info(error)[0]
    raise AssertionError(f"the call was answered: {answer!r}")


def registering(**fields: Any) -> client_registration_service_pb2.RegisterClientRequest:
    return client_registration_service_pb2.RegisterClientRequest(
        **{"software_statement": statement(), "client_name": "Tea shop", **fields}
    )


def test_a_shop_is_registered_shown_and_given_a_new_secret(play: Play, shops: Credentials) -> None:
    async def story(gateway: Caller, _: Caller) -> None:
        master = await gateway.as_client(shops)
        registered = await gateway.registrations.RegisterClient(registering(), metadata=master)
        client = registered.client
        assert (client.platform_id, client.partner_id, client.scope) == ("shops", "ptr_1", " ".join(sorted(CEILING)))
        assert list(client.grant_types) == ["client_credentials"]
        assert registered.client_secret_expires_at == 0
        get = client_registration_service_pb2.GetClientRequest(client_id=client.client_id)
        assert await gateway.registrations.GetClient(get, metadata=master) == client
        rotate = client_registration_service_pb2.RotateClientSecretRequest(client_id=client.client_id)
        rotated = await gateway.registrations.RotateClientSecret(rotate, metadata=master)
        assert rotated.client == client
        assert rotated.client_secret not in ("", registered.client_secret)
        issue = token_service_pb2.IssueTokenRequest(grant_type="client_credentials", client_id=client.client_id)
        issue.client_secret = registered.client_secret
        assert await refusal(gateway.tokens.IssueToken(issue)) == ("UNAUTHENTICATED", "INVALID_CLIENT")
        issue.client_secret = rotated.client_secret
        answer = await gateway.tokens.IssueToken(issue)
        assert (answer.token_type, answer.expires_in, answer.scope) == ("Bearer", 600, client.scope)
        exchanged = await gateway.exchange(answer.access_token, "payments")
        assert (exchanged.partner_id, exchanged.platform_id, exchanged.client_id) == (
            "ptr_1",
            "shops",
            client.client_id,
        )
        assert exchanged.expires_in <= 300

    play(story)


def test_only_the_gateway_may_call_but_every_workload_gets_the_keys(play: Play, operator: Credentials) -> None:
    async def story(gateway: Caller, payments: Caller) -> None:
        token = await gateway.token(operator)
        not_allowed = ("PERMISSION_DENIED", "WORKLOAD_NOT_ALLOWED")
        assert await refusal(payments.token(operator)) == not_allowed
        assert await refusal(payments.exchange(token)) == not_allowed
        assert await refusal(payments.registrations.RegisterClient(registering())) == not_allowed
        (key,) = (await payments.keys.ListKeys(key_service_pb2.ListKeysRequest())).keys
        assert (key.kty, key.crv, key.alg, key.use) == ("EC", "P-256", "ES256", "sig")

    play(story)


def test_registration_needs_the_private_token_of_a_master_client(
    play: Play, shops: Credentials, operator: Credentials
) -> None:
    async def story(gateway: Caller, _: Caller) -> None:
        register = gateway.registrations.RegisterClient
        access_token = await gateway.token(shops)
        for_payments = (await gateway.exchange(access_token, "payments")).access_token
        for metadata in (
            [],
            [("authorization", f"Bearer {access_token}")],
            [("authorization", f"Bearer {for_payments}")],
            (await gateway.as_client(shops)) * 2,
        ):
            assert await refusal(register(registering(), metadata=metadata)) == (
                "UNAUTHENTICATED",
                "INVALID_PRIVATE_TOKEN",
            )
        assert await refusal(register(registering(), metadata=await gateway.as_client(operator))) == (
            "PERMISSION_DENIED",
            "CLIENT_TYPE_NOT_ALLOWED",
        )

    play(story)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"client_name": ""}, "INVALID_CLIENT_METADATA"),
        ({"client_name": "  "}, "INVALID_CLIENT_METADATA"),
        ({"client_name": "a" * 201}, "INVALID_CLIENT_METADATA"),
        ({"client_name": "a\nb"}, "INVALID_CLIENT_METADATA"),
        ({"grant_types": ["password"]}, "INVALID_CLIENT_METADATA"),
        ({"grant_types": ["client_credentials", "client_credentials"]}, "INVALID_CLIENT_METADATA"),
        ({"software_statement": ""}, "INVALID_SOFTWARE_STATEMENT"),
        ({"software_statement": statement(aud="payments")}, "INVALID_SOFTWARE_STATEMENT"),
        ({"software_statement": statement(exp=1)}, "INVALID_SOFTWARE_STATEMENT"),
        ({"software_statement": statement(platform_id="stalls")}, "UNAPPROVED_SOFTWARE_STATEMENT"),
        ({"scope": "clients.write"}, "INVALID_SCOPE"),
        ({"scope": "payments.read  payments.write"}, "INVALID_SCOPE"),
    ],
)
def test_a_bad_registration_is_refused(play: Play, shops: Credentials, fields: dict[str, Any], reason: str) -> None:
    async def story(gateway: Caller, _: Caller) -> None:
        master = await gateway.as_client(shops)
        assert (await refusal(gateway.registrations.RegisterClient(registering(**fields), metadata=master)))[
            1
        ] == reason
        await gateway.registrations.RegisterClient(registering(), metadata=master)

    play(story)


def test_a_used_statement_is_answered_with_the_clients_id(play: Play, shops: Credentials) -> None:
    async def story(gateway: Caller, _: Caller) -> None:
        master = await gateway.as_client(shops)
        registered = await gateway.registrations.RegisterClient(registering(), metadata=master)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await gateway.registrations.RegisterClient(registering(), metadata=master)
        assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
        used = ("SOFTWARE_STATEMENT_USED", {"client_id": registered.client.client_id})
        assert read_error_info(caught.value) == used

    play(story)


def test_other_grants_and_token_types_are_refused(play: Play, operator: Credentials) -> None:
    async def story(gateway: Caller, _: Caller) -> None:
        unsupported = ("INVALID_ARGUMENT", "UNSUPPORTED_GRANT_TYPE")
        for grant_type in ("", "password", "CLIENT_CREDENTIALS", TOKEN_EXCHANGE):
            assert await refusal(gateway.token(operator, grant_type)) == unsupported
        token = await gateway.token(operator)
        for changes in ({"grant_type": ""}, {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}):
            assert await refusal(gateway.exchange(token, **changes)) == unsupported
        assert await refusal(gateway.exchange(token, "shops")) == ("INVALID_ARGUMENT", "INVALID_TARGET")
        assert await refusal(gateway.exchange(token + "=")) == ("UNAUTHENTICATED", "INVALID_TOKEN")

    play(story)


def test_tokens_hold_across_a_restart(config: AuthServerConfig, certificates: Path, operator: Credentials) -> None:
    async def first_run() -> str:
        async with running(config) as server, calling(certificates, server.port, "gateway") as gateway:
            return await gateway.token(operator)

    async def second_run(token: str) -> None:
        async with running(config) as server, calling(certificates, server.port, "gateway") as gateway:
            assert (await gateway.exchange(token)).client_id == operator.client.client_id

    asyncio.run(second_run(asyncio.run(first_run())))


def refuse_to_start(config: AuthServerConfig, complaint: str) -> None:
    async def run() -> None:
        async with running(config):
            raise AssertionError("the auth server started")

    with pytest.raises(ConfigError, match=complaint):
        asyncio.run(run())


def test_a_database_that_is_not_migrated_refuses_to_start(config: AuthServerConfig, tmp_path: Path) -> None:
    refuse_to_start(msgspec.structs.replace(config, database=f"sqlite:///{tmp_path / 'empty.db'}"), "sekisho migrate")


def test_another_key_encryption_key_refuses_to_start(config: AuthServerConfig, play: Play) -> None:
    async def nothing(_: Caller, __: Caller) -> None:
        pass

    play(nothing)
    write_private(config.key_encryption_key, bytes(32))
    refuse_to_start(config, "wrong key file")
    write_private(config.key_encryption_key, bytes(31))
    refuse_to_start(config, "this file 31")


@pytest.mark.parametrize("name", ["pepper", "key_encryption_key"])
def test_a_secret_that_others_can_read_or_that_is_missing_refuses_to_start(config: AuthServerConfig, name: str) -> None:
    file = getattr(config, name)
    file.chmod(0o640)
    refuse_to_start(config, "chmod 600")
    file.unlink()
    refuse_to_start(config, str(file))


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"keys": [{"kid": "a", "kty": "RSA"}]}'])
def test_an_issuers_keys_that_are_none_refuse_to_start(config: AuthServerConfig, content: str) -> None:
    config.statement_issuers[0].jwks.write_text(content)
    refuse_to_start(config, "jwks.json")


def test_an_address_that_is_taken_refuses_to_start(config: AuthServerConfig, certificates: Path) -> None:
    async def run() -> None:
        async with running(config) as server:
            address = f"127.0.0.1:{server.port}"
            taken = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, listen=address))
            with pytest.raises(ConfigError, match=address):
                async with running(taken):
                    raise AssertionError("the auth server started")
            async with calling(certificates, server.port, "gateway") as gateway:
                await gateway.keys.ListKeys(key_service_pb2.ListKeysRequest())

    asyncio.run(run())
