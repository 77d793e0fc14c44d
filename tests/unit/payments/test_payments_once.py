import pytest
from sqlalchemy import Connection

from mesh.errors import ServiceError
from mesh.ids import new_id
from mesh.storage.idempotency import RequestIdReused
from payments.errors import WalletNotFound
from payments.once import once
from payments.servicers.messages import wallet_message
from payments.wallets import open_wallet
from sekisho.payments.v1 import wallet_service_pb2
from tests.unit.payments.payments_world import NOW, World

REQUEST = wallet_service_pb2.OpenWalletRequest(request_id="request-1", currency_code="JPY")


async def open_once(
    world: World, owner: str = "cli_wallet", request: wallet_service_pb2.OpenWalletRequest = REQUEST
) -> wallet_service_pb2.Wallet:
    def effect(connection: Connection) -> wallet_service_pb2.Wallet:
        return wallet_message(open_wallet(connection, request.currency_code, now=NOW, new_id=new_id))

    return await once(world.database, owner, request, wallet_service_pb2.Wallet, effect)


async def test_the_same_request_has_one_effect(world: World) -> None:
    wallet = await open_once(world)
    with world.unchanged():
        assert await open_once(world) == wallet


async def test_another_body_under_the_same_id_is_refused(world: World) -> None:
    await open_once(world)
    other = wallet_service_pb2.OpenWalletRequest(request_id="request-1", currency_code="USD")
    with world.unchanged(), pytest.raises(RequestIdReused):
        await open_once(world, request=other)


async def test_owners_do_not_share_their_request_ids(world: World) -> None:
    assert (await open_once(world, "cli_one")).wallet_id != (await open_once(world, "cli_two")).wallet_id


async def test_a_refused_request_leaves_its_id_free(world: World) -> None:
    def refuse(_connection: Connection) -> wallet_service_pb2.Wallet:
        raise WalletNotFound("there is no such wallet")

    with world.unchanged(), pytest.raises(ServiceError):
        await once(world.database, "cli_wallet", REQUEST, wallet_service_pb2.Wallet, refuse)
    await open_once(world)
