"""Who acts in the story: people, what they call, and the record of it."""

import secrets
from typing import Any

import grpc

from cli.wire import Answer, call
from sekisho.auth.v1 import client_registration_service_pb2_grpc as registration
from sekisho.auth.v1 import exchange_service_pb2_grpc as exchange
from sekisho.auth.v1 import token_service_pb2_grpc as token
from sekisho.payments.v1 import ledger_service_pb2_grpc as ledger
from sekisho.payments.v1 import partner_application_service_pb2_grpc as application
from sekisho.payments.v1 import partner_review_service_pb2_grpc as review
from sekisho.payments.v1 import payment_service_pb2_grpc as payment
from sekisho.payments.v1 import wallet_service_pb2_grpc as wallet
from sekisho.shops.v1 import catalog_service_pb2_grpc as catalog
from sekisho.shops.v1 import order_service_pb2_grpc as order
from sekisho.shops.v1 import shop_service_pb2_grpc as shop


class StoryFailed(Exception):
    """Something came out otherwise than the story says."""


class Stubs:
    """Every service that an outsider may try to call."""

    def __init__(self, gateway: grpc.aio.Channel, shops: grpc.aio.Channel) -> None:
        self.tokens = token.TokenServiceStub(gateway)
        self.registration = registration.ClientRegistrationServiceStub(gateway)
        self.exchange = exchange.ExchangeServiceStub(gateway)
        self.applications = application.PartnerApplicationServiceStub(gateway)
        self.reviews = review.PartnerReviewServiceStub(gateway)
        self.payments = payment.PaymentServiceStub(gateway)
        self.wallets = wallet.WalletServiceStub(gateway)
        self.ledger = ledger.LedgerServiceStub(gateway)
        self.shops = shop.ShopServiceStub(shops)
        self.catalog = catalog.CatalogServiceStub(shops)
        self.orders = order.OrderServiceStub(shops)


class Cast:
    """Makes calls in somebody's name, and remembers who made which."""

    def __init__(self) -> None:
        self.people: dict[str, str] = {}  # by request id
        self._run = secrets.token_hex(3)  # request ids of this run differ from those of any other

    async def call(self, who: str, method: Any, request: Any, token: str | None = None) -> Any:  # noqa: ANN401 - any
        """Call a method, and return its response.

        Raises:
            StoryFailed: If it is refused.

        """
        answer = await self.attempt(who, method, request, token)
        if answer.status != "OK":
            raise StoryFailed(f"{who} was refused: {answer.status} {answer.reason} {answer.message}")
        return answer.response

    async def attempt(self, who: str, method: Any, request: Any, token: str | None = None) -> Answer:  # noqa: ANN401
        """Call a method, and return how that ended."""
        request_id = f"demo-{self._run}-{len(self.people) + 1}"
        self.people[request_id] = who
        return await call(method, request, token=token, request_id=request_id)
