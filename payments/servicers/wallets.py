"""`sekisho.payments.v1.WalletService`."""

import secrets
from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration
from sqlalchemy import Connection

from mesh.calls.wrapping import Context
from mesh.ids import new_id
from mesh.interceptors.private_token import current_caller
from mesh.serving.fields import Fields
from mesh.storage.database import Database
from mesh.timestamps import timestamp, to_ms
from payments.money import check_currency
from payments.once import once
from payments.servicers.messages import check_id, money_message, required_amount, wallet_message
from payments.store.wallets import get_wallet
from payments.wallets import issue_payment_code, open_wallet, top_up_wallet
from sekisho.payments.v1 import wallet_service_pb2 as pb
from sekisho.payments.v1 import wallet_service_pb2_grpc as pb_grpc

_DEFAULT_TTL_MS = 5 * 60 * 1000
_MAX_TTL_MS = 60 * 60 * 1000


class WalletServiceServicer(pb_grpc.WalletServiceServicer):
    """Keeps consumers' wallets.

    Args:
        database: Where they are kept.
        clock: Seconds since the epoch.

    """

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """Serve from a database."""
        self._database = database
        self._clock = clock

    async def OpenWallet(self, request: pb.OpenWalletRequest, _context: Context) -> pb.Wallet:
        """Open a wallet in one currency."""
        fields = Fields()
        fields.request_id(request.request_id)
        check_currency(fields, "currency_code", request.currency_code)
        fields.done()

        def effect(connection: Connection) -> pb.Wallet:
            now = to_ms(self._clock())
            return wallet_message(open_wallet(connection, request.currency_code, now=now, new_id=new_id))

        return await once(self._database, current_caller().client_id, request, pb.Wallet, effect)

    async def TopUpWallet(self, request: pb.TopUpWalletRequest, _context: Context) -> pb.Wallet:
        """Put money that the consumer paid in into the wallet."""
        fields = Fields()
        fields.request_id(request.request_id)
        check_id(fields, "wallet_id", request.wallet_id)
        amount = required_amount(fields, "amount", request)
        fields.done()

        def effect(connection: Connection) -> pb.Wallet:
            now = to_ms(self._clock())
            return wallet_message(top_up_wallet(connection, request.wallet_id, amount, now=now, new_id=new_id))

        return await once(self._database, current_caller().client_id, request, pb.Wallet, effect)

    async def GetWallet(self, request: pb.GetWalletRequest, _context: Context) -> pb.Wallet:
        """Get one wallet."""
        fields = Fields()
        check_id(fields, "wallet_id", request.wallet_id)
        fields.done()
        return wallet_message(await self._database.read(lambda connection: get_wallet(connection, request.wallet_id)))

    async def IssuePaymentCode(self, request: pb.IssuePaymentCodeRequest, _context: Context) -> pb.PaymentCode:
        """Issue a payment code. Each call makes a new one."""
        fields = Fields()
        check_id(fields, "wallet_id", request.wallet_id)
        limit = required_amount(fields, "limit", request)
        ttl_ms = _milliseconds(fields, request.ttl) if request.HasField("ttl") else _DEFAULT_TTL_MS
        fields.done()
        payment_code, kept = await self._database.run(
            lambda connection: issue_payment_code(
                connection,
                request.wallet_id,
                limit,
                ttl_ms=ttl_ms,
                now=to_ms(self._clock()),
                random_bytes=secrets.token_bytes,
            )
        )
        return pb.PaymentCode(
            payment_code=payment_code, limit=money_message(kept.limit), expire_time=timestamp(kept.expire_time)
        )


def _milliseconds(fields: Fields, ttl: Duration) -> int:
    # Not ToMilliseconds: it raises on durations that are out of range, which are merely refused here.
    milliseconds = ttl.seconds * 1000 + ttl.nanos // 1_000_000
    if not 1 <= milliseconds <= _MAX_TTL_MS:
        fields.refuse("ttl", "must be from one millisecond to one hour")
    return milliseconds
