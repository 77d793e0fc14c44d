"""How a Master Client manages its clients, and clients their tokens, over the wire."""

import time
from pathlib import Path
from typing import Any

import pytest

from authserver.clients.register import Credentials
from authserver.clients.store.clients import find_client
from authserver.config import AuthServerConfig
from authserver.server import running
from mesh.storage.database import Database
from sekisho.access.v1 import access_pb2
from sekisho.auth.v1 import client_registration_service_pb2 as pb
from sekisho.auth.v1 import token_service_pb2 as token_pb
from tests.unit.authserver.wire import Caller, calling, refusal, registering, statement


async def register(gateway: Caller, master: Any, number: int = 1, **fields: Any) -> pb.RegisterClientResponse:
    signed = statement(jti=f"app_{number}", partner_id=f"ptr_{number}")
    request = registering(software_statement=signed, **fields)
    response: pb.RegisterClientResponse = await gateway.registrations.RegisterClient(request, metadata=master)
    return response


async def test_clients_are_listed_page_by_page(gateway: Caller, shops: Credentials) -> None:
    master = await gateway.as_client(shops)
    clients = [(await register(gateway, master, number)).client for number in range(3)]
    newest_first = sorted(clients, key=lambda client: str(client.client_id), reverse=True)
    list_clients = gateway.registrations.ListClients
    whole = await list_clients(pb.ListClientsRequest(), metadata=master)
    assert (list(whole.clients), whole.next_page_token) == (newest_first, "")
    first = await list_clients(pb.ListClientsRequest(page_size=2), metadata=master)
    assert list(first.clients) == newest_first[:2]
    rest = pb.ListClientsRequest(page_size=2, page_token=first.next_page_token)
    second = await list_clients(rest, metadata=master)
    assert (list(second.clients), second.next_page_token) == (newest_first[2:], "")
    for wrong in (pb.ListClientsRequest(page_size=-1), pb.ListClientsRequest(page_token="x")):
        assert await refusal(list_clients(wrong, metadata=master)) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


async def test_a_client_is_updated_and_deleted(gateway: Caller, shops: Credentials) -> None:
    master = await gateway.as_client(shops)
    registered = await register(gateway, master)
    client_id = registered.client.client_id
    token = await gateway.token_of(client_id, registered.client_secret)
    update = pb.UpdateClientRequest(client_id=client_id, client_name="Coffee", scope="payments.read")
    updated = await gateway.registrations.UpdateClient(update, metadata=master)
    assert (updated.client_name, updated.scope) == ("Coffee", "payments.read")
    get = pb.GetClientRequest(client_id=client_id)
    assert await gateway.registrations.GetClient(get, metadata=master) == updated
    assert await refusal(gateway.exchange(token)) == ("UNAUTHENTICATED", "INVALID_TOKEN")
    token = await gateway.token_of(client_id, registered.client_secret)
    delete = pb.DeleteClientRequest(client_id=client_id)
    await gateway.registrations.DeleteClient(delete, metadata=master)
    assert await refusal(gateway.exchange(token)) == ("UNAUTHENTICATED", "INVALID_TOKEN")
    for call in (
        gateway.registrations.DeleteClient(delete, metadata=master),
        gateway.registrations.UpdateClient(update, metadata=master),
        gateway.registrations.GetClient(get, metadata=master),
    ):
        assert await refusal(call) == ("NOT_FOUND", "CLIENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"client_name": ""}, "INVALID_CLIENT_METADATA"),
        ({"client_name": "a" * 201}, "INVALID_CLIENT_METADATA"),
        ({"client_name": "a\0b"}, "INVALID_CLIENT_METADATA"),
        ({"scope": "clients.write"}, "INVALID_SCOPE"),
        ({"scope": "payments.read\0"}, "INVALID_SCOPE"),
        ({"client_id": ""}, "CLIENT_NOT_FOUND"),
        ({"client_id": "cli\0"}, "CLIENT_NOT_FOUND"),
        ({"client_id": "c" * 100_000}, "CLIENT_NOT_FOUND"),
    ],
)
async def test_a_bad_update_is_refused(
    gateway: Caller, shops: Credentials, fields: dict[str, str], reason: str
) -> None:
    master = await gateway.as_client(shops)
    client = (await register(gateway, master)).client
    update = pb.UpdateClientRequest(**{"client_id": client.client_id, "client_name": "Coffee", **fields})
    assert (await refusal(gateway.registrations.UpdateClient(update, metadata=master)))[1] == reason
    get = pb.GetClientRequest(client_id=client.client_id)
    assert await gateway.registrations.GetClient(get, metadata=master) == client


async def test_a_secret_is_rotated_with_an_overlap(gateway: Caller, shops: Credentials) -> None:
    master = await gateway.as_client(shops)
    registered = await register(gateway, master)
    client_id = registered.client.client_id
    token = await gateway.token_of(client_id, registered.client_secret)
    end = int(time.time()) + 3600
    rotate = pb.RotateClientSecretRequest(client_id=client_id, old_secret_expires_at=end)
    rotated = await gateway.registrations.RotateClientSecret(rotate, metadata=master)
    assert [secret.expires_at for secret in rotated.client.secrets] == [0, end]
    await gateway.exchange(token)
    for secret in (registered.client_secret, rotated.client_secret):
        await gateway.exchange(await gateway.token_of(client_id, secret))
    for wrong in (1, -1, 2**62, int(time.time()) + 31 * 24 * 3600):
        rotate.old_secret_expires_at = wrong
        refused = await refusal(gateway.registrations.RotateClientSecret(rotate, metadata=master))
        assert refused == ("INVALID_ARGUMENT", "INVALID_REQUEST")


async def test_a_platform_has_no_more_clients_than_it_may(
    gateway: Caller, shops: Credentials, database: Database
) -> None:
    database.run_here(lambda connection: connection.exec_driver_sql("UPDATE platforms SET max_clients = 1"))
    master = await gateway.as_client(shops)
    await register(gateway, master)
    assert await refusal(register(gateway, master, 2)) == ("RESOURCE_EXHAUSTED", "CLIENT_QUOTA_EXCEEDED")


async def test_a_client_revokes_its_own_token_and_nobody_learns_what_else_there_is(
    gateway: Caller, shops: Credentials
) -> None:
    registered = await register(gateway, await gateway.as_client(shops))
    own = {"client_id": registered.client.client_id, "client_secret": registered.client_secret}
    master = {"client_id": shops.client.client_id, "client_secret": shops.client_secret}
    token = await gateway.token_of(**own)
    revoke = gateway.tokens.RevokeToken
    for other in ({"token": token, **master}, {"token": token + "=", **own}, {"token": "", **own}):
        assert await revoke(token_pb.RevokeTokenRequest(**other)) == token_pb.RevokeTokenResponse()
    await gateway.exchange(token)
    wrong = token_pb.RevokeTokenRequest(**{**own, "client_secret": "scs_wrong"}, token=token)
    assert await refusal(revoke(wrong)) == ("UNAUTHENTICATED", "INVALID_CLIENT")
    for _ in range(2):
        assert await revoke(token_pb.RevokeTokenRequest(token=token, **own)) == token_pb.RevokeTokenResponse()
        assert await refusal(gateway.exchange(token)) == ("UNAUTHENTICATED", "INVALID_TOKEN")


async def test_introspection_says_everything_or_that_it_is_not_active_and_nothing_more(
    gateway: Caller, shops: Credentials, operator: Credentials
) -> None:
    registered = await register(gateway, await gateway.as_client(shops))
    own = {"client_id": registered.client.client_id, "client_secret": registered.client_secret}
    master = {"client_id": shops.client.client_id, "client_secret": shops.client_secret}
    stranger = {"client_id": operator.client.client_id, "client_secret": operator.client_secret}
    token = await gateway.token_of(**own, scope="payments.read")
    introspect = gateway.tokens.IntrospectToken
    answer = await introspect(token_pb.IntrospectTokenRequest(token=token, **own))
    assert await introspect(token_pb.IntrospectTokenRequest(token=token, **master)) == answer
    assert 0 < answer.exp - time.time() <= 601
    assert answer.jti
    answer.ClearField("exp")
    answer.ClearField("jti")
    assert answer == token_pb.IntrospectTokenResponse(
        active=True,
        scope="payments.read",
        client_id=own["client_id"],
        token_type="Bearer",
        sub=own["client_id"],
        iss="authserver.example",
        client_type=access_pb2.CLIENT_TYPE_PARTNER,
        platform_id="shops",
        partner_id="ptr_1",
    )
    revoked = await gateway.token_of(**own)
    await gateway.tokens.RevokeToken(token_pb.RevokeTokenRequest(token=revoked, **own))
    private = (await gateway.exchange(token)).access_token
    for asked in (
        {"token": token, **stranger},
        {"token": await gateway.token(shops), **own},
        *({"token": nothing, **own} for nothing in (revoked, private, token + "=", "garbage", "", "\0")),
    ):
        assert (await introspect(token_pb.IntrospectTokenRequest(**asked))).SerializeToString() == b""
    wrong = token_pb.IntrospectTokenRequest(**{**own, "client_secret": "scs_wrong"}, token=token)
    assert await refusal(introspect(wrong)) == ("UNAUTHENTICATED", "INVALID_CLIENT")


async def test_who_knows_of_later_revocations_than_the_server_is_told_to_try_again(
    gateway: Caller, operator: Credentials
) -> None:
    token = await gateway.token(operator)
    position = (await gateway.exchange(token)).revocation_position
    assert position > 0
    assert (await gateway.exchange(token, revocation_position=position)).revocation_position == position
    behind = ("UNAVAILABLE", "REPLICA_BEHIND")
    assert await refusal(gateway.exchange(token, revocation_position=position + 1)) == behind


async def test_a_server_that_stops_writes_down_which_secrets_were_used(
    config: AuthServerConfig, certificates: Path, operator: Credentials, database: Database
) -> None:
    def last_use_time() -> int | None:
        client = database.read_here(lambda connection: find_client(connection, operator.client.client_id))
        assert client is not None
        return client.secrets[0].last_use_time

    before = time.time()
    async with running(config) as server, calling(certificates, server.port, "gateway") as gateway:
        await gateway.token(operator)
        assert last_use_time() is None
    assert before - 1 < (last_use_time() or 0) / 1000 < time.time() + 1
