from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest

from authserver.clients.register import Credentials
from authserver.config import AuthServerConfig
from authserver.server import running
from authserver.tokens.exchange import TOKEN_EXCHANGE
from mesh.calls.error_info import read_error_info
from mesh.config import ConfigError
from mesh.security.secret_files import write_private
from sekisho.auth.v1 import (
    client_registration_service_pb2,
    key_service_pb2,
    token_service_pb2,
)
from tests.unit.authserver.company import CEILING
from tests.unit.authserver.wire import Caller, calling, refusal, registering, statement


async def test_a_shop_is_registered_shown_and_given_a_new_secret(gateway: Caller, shops: Credentials) -> None:
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
    (old,), (new,) = client.secrets, rotated.client.secrets
    assert (old.expires_at, new.expires_at) == (0, 0)
    assert new.secret_id != old.secret_id
    client.ClearField("secrets")
    rotated.client.ClearField("secrets")
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


async def test_only_the_gateway_may_call_but_every_workload_gets_the_keys(
    gateway: Caller, payments: Caller, operator: Credentials
) -> None:
    token = await gateway.token(operator)
    not_allowed = ("PERMISSION_DENIED", "WORKLOAD_NOT_ALLOWED")
    assert await refusal(payments.token(operator)) == not_allowed
    assert await refusal(payments.exchange(token)) == not_allowed
    assert await refusal(payments.registrations.RegisterClient(registering())) == not_allowed
    (key,) = (await payments.keys.ListKeys(key_service_pb2.ListKeysRequest())).keys
    assert (key.kty, key.crv, key.alg, key.use) == ("EC", "P-256", "ES256", "sig")


async def test_registration_needs_the_private_token_of_a_master_client(
    gateway: Caller, shops: Credentials, operator: Credentials
) -> None:
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
async def test_a_bad_registration_is_refused(
    gateway: Caller, shops: Credentials, fields: dict[str, Any], reason: str
) -> None:
    master = await gateway.as_client(shops)
    assert (await refusal(gateway.registrations.RegisterClient(registering(**fields), metadata=master)))[1] == reason
    await gateway.registrations.RegisterClient(registering(), metadata=master)


async def test_a_used_statement_is_answered_with_the_clients_id(gateway: Caller, shops: Credentials) -> None:
    master = await gateway.as_client(shops)
    registered = await gateway.registrations.RegisterClient(registering(), metadata=master)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await gateway.registrations.RegisterClient(registering(), metadata=master)
    assert caught.value.code() is grpc.StatusCode.ALREADY_EXISTS
    used = ("SOFTWARE_STATEMENT_USED", {"client_id": registered.client.client_id})
    assert read_error_info(caught.value) == used


async def test_other_grants_and_token_types_are_refused(gateway: Caller, operator: Credentials) -> None:
    unsupported = ("INVALID_ARGUMENT", "UNSUPPORTED_GRANT_TYPE")
    for grant_type in ("", "password", "CLIENT_CREDENTIALS", TOKEN_EXCHANGE):
        assert await refusal(gateway.token(operator, grant_type)) == unsupported
    token = await gateway.token(operator)
    for changes in ({"grant_type": ""}, {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"}):
        assert await refusal(gateway.exchange(token, **changes)) == unsupported
    assert await refusal(gateway.exchange(token, "shops")) == ("INVALID_ARGUMENT", "INVALID_TARGET")
    assert await refusal(gateway.exchange(token + "=")) == ("UNAUTHENTICATED", "INVALID_TOKEN")


async def test_tokens_hold_across_a_restart(
    config: AuthServerConfig, certificates: Path, operator: Credentials
) -> None:
    async with running(config) as server, calling(certificates, server.port, "gateway") as gateway:
        token = await gateway.token(operator)
    async with running(config) as server, calling(certificates, server.port, "gateway") as gateway:
        assert (await gateway.exchange(token)).client_id == operator.client.client_id


async def refuse_to_start(config: AuthServerConfig, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        async with running(config):
            raise AssertionError("the auth server started")


async def test_a_database_that_is_not_migrated_refuses_to_start(config: AuthServerConfig, tmp_path: Path) -> None:
    await refuse_to_start(
        msgspec.structs.replace(config, database=f"sqlite:///{tmp_path / 'empty.db'}"), "sekisho migrate"
    )


async def test_another_key_encryption_key_refuses_to_start(config: AuthServerConfig) -> None:
    async with running(config):
        pass
    write_private(config.key_encryption_keys[0], bytes(32))
    await refuse_to_start(config, "wrong key file")
    write_private(config.key_encryption_keys[0], bytes(31))
    await refuse_to_start(config, "this file 31")


@pytest.mark.parametrize("name", ["pepper", "kek", "audit-key"])
async def test_a_secret_that_others_can_read_or_that_is_missing_refuses_to_start(
    config: AuthServerConfig, name: str
) -> None:
    file = config.audit_key.parent / name
    file.chmod(0o640)
    await refuse_to_start(config, "chmod 600")
    file.unlink()
    await refuse_to_start(config, str(file))


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"keys": [{"kid": "a", "kty": "RSA"}]}'])
async def test_an_issuers_keys_that_are_none_refuse_to_start(config: AuthServerConfig, content: str) -> None:
    config.statement_issuers[0].jwks.write_text(content)
    await refuse_to_start(config, "jwks.json")


async def test_an_address_that_is_taken_refuses_to_start(config: AuthServerConfig, certificates: Path) -> None:
    async with running(config) as server:
        address = f"127.0.0.1:{server.port}"
        taken = msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, listen=address))
        with pytest.raises(ConfigError, match=address):
            async with running(taken):
                raise AssertionError("the auth server started")
        async with calling(certificates, server.port, "gateway") as gateway:
            await gateway.keys.ListKeys(key_service_pb2.ListKeysRequest())
