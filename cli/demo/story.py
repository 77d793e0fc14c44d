"""The story of one payment, from the Master Client to the refusals, told by calling a running mesh."""

import asyncio
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from cli.demo.cast import Cast, StoryFailed, Stubs
from cli.demo.hops import Hop, HopReader
from cli.demo.refusals import Refusals
from cli.home import Home, MeshAddresses, read_credentials
from cli.wire import token_request
from sekisho.payments.v1 import ledger_service_pb2, partner_review_service_pb2, wallet_service_pb2
from sekisho.payments.v1.money_pb2 import Money
from sekisho.shops.v1 import catalog_service_pb2, order_service_pb2, shop_service_pb2

_WAIT_SECONDS = 20.0
_PAUSE_SECONDS = 0.1
_PRICE = Money(currency_code="JPY", minor_units=1_200)
_TOP_UP = Money(currency_code="JPY", minor_units=10_000)

_Shop = shop_service_pb2.Shop
_Order = order_service_pb2.Order


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the story came to.

    Attributes:
        title: What happened, in a sentence.
        facts: What there is to know about it.
        rows: A table, if the step has one.
        hops: The calls that were made.

    """

    title: str
    facts: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)


class Story:
    """Tells the story step by step.

    Args:
        home: Where the mesh lives.
        addresses: Where it answers.
        stubs: What to call.

    """

    def __init__(self, home: Home, addresses: MeshAddresses, stubs: Stubs) -> None:
        self._home = home
        self._addresses = addresses
        self._stubs = stubs
        self._cast = Cast()
        self._shop_name = f"Tea House {secrets.token_hex(2)}"
        self._shop_id = ""
        self._owner_token = ""
        self._payment_id = ""
        self._product_id = ""

    async def tell(self) -> AsyncIterator[Step]:
        """Take one step after the other.

        Raises:
            StoryFailed: If one comes out otherwise than the story says.

        """
        hops = HopReader(self._home)
        for take in (
            self._meet_master,
            self._open_shop,
            self._approve,
            self._await_registration,
            self._pay,
            self._refund,
            self._refuse,
            self._read_ledger,
        ):
            before = set(self._cast.people)
            step = await take()
            step.hops.extend(await hops.until(set(self._cast.people) - before, self._cast.people))
            yield step

    async def _meet_master(self) -> Step:
        client_id, _ = read_credentials(self._addresses.master_credentials)
        facts = {"client_id": client_id, "credentials": str(self._addresses.master_credentials)}
        return Step("Beside the auth server's database, one Master Client was provisioned for Shops.", facts)

    async def _open_shop(self) -> Step:
        request = shop_service_pb2.OpenShopRequest(
            request_id=str(uuid.uuid4()),
            display_name=self._shop_name,
            contact_email="tea@example.com",
            business_description="Green tea and cups",
        )
        opened = await self._cast.call("merchant", self._stubs.shops.OpenShop, request)
        self._shop_id, self._owner_token = opened.shop.shop_id, opened.owner_token
        await self._shop_becomes(_Shop.IN_REVIEW)
        title = "A merchant asks Shops for a shop; Shops submits a partner application with the Master Client's token."
        return Step(title, {"shop_id": self._shop_id})

    async def _approve(self) -> Step:
        token = await self._token("operator", self._addresses.operator_credentials)
        application_id = await self._find_application(token)
        request = partner_review_service_pb2.ApprovePartnerApplicationRequest(application_id=application_id)
        approved = await self._cast.call("operator", self._stubs.reviews.ApprovePartnerApplication, request, token)
        facts = {"application_id": application_id, "partner_id": approved.partner_id, "reviewer": approved.reviewer}
        return Step("An operator reviews and approves it; Payments issues a Partner ID.", facts)

    async def _await_registration(self) -> Step:
        await self._shop_becomes(_Shop.ACTIVE)
        title = "Shops registers the shop's client with the signed software statement, and seals its secret. "
        return Step(title + "The merchant never sees any of it.", {"shop_id": self._shop_id, "state": "ACTIVE"})

    async def _pay(self) -> Step:
        request = catalog_service_pb2.CreateProductRequest(
            request_id=str(uuid.uuid4()), shop_id=self._shop_id, display_name="Sencha, 100 g", price=_PRICE
        )
        product = await self._cast.call("merchant", self._stubs.catalog.CreateProduct, request, self._owner_token)
        self._product_id = product.product_id
        order = await self._place_order()
        self._payment_id = order.payment_id
        facts = {"order_id": order.order_id, "payment_id": order.payment_id, "total": _text(order.total)}
        return Step("A buyer checks out; Shops takes a token for that shop, and the gateway swaps it.", facts)

    async def _refund(self) -> Step:
        order = await self._place_order()
        request = order_service_pb2.RefundOrderRequest(order_id=order.order_id)
        refunded = await self._cast.call("merchant", self._stubs.orders.RefundOrder, request, self._owner_token)
        if refunded.state != _Order.REFUNDED:
            raise StoryFailed(f"the order is {_Order.State.Name(refunded.state)}, not REFUNDED")
        facts = {"order_id": order.order_id, "state": "REFUNDED"}
        return Step("Another order is paid, and the merchant refunds it.", facts)

    async def _refuse(self) -> Step:
        refusals = Refusals(self._home, self._addresses, self._stubs, self._cast)
        rows = await refusals.attempt_all(self._payment_id)
        return Step("What must be refused is refused, with its reason.", rows=rows)

    async def _read_ledger(self) -> Step:
        token = await self._token("operator", self._addresses.operator_credentials)
        request = ledger_service_pb2.GetTrialBalanceRequest()
        balance = await self._cast.call("operator", self._stubs.ledger.GetTrialBalance, request, token)
        if sum(row.debit_minor_units - row.credit_minor_units for row in balance.rows):
            raise StoryFailed("debits and credits of the ledger differ")
        rows = [
            {
                "account": row.account_kind,
                "currency": row.currency_code,
                "accounts": str(row.account_count),
                "debit": str(row.debit_minor_units),
                "credit": str(row.credit_minor_units),
            }
            for row in balance.rows
        ]
        return Step("The ledger afterwards: in each currency, debits equal credits.", rows=rows)

    async def _token(self, who: str, credentials: Path) -> str:
        issued = await self._cast.call(who, self._stubs.tokens.IssueToken, token_request(credentials))
        return str(issued.access_token)

    async def _find_application(self, token: str) -> str:
        request = partner_review_service_pb2.ListPendingPartnerApplicationsRequest(page_size=100)
        while True:
            page = await self._cast.call("operator", self._stubs.reviews.ListPendingPartnerApplications, request, token)
            for application in page.applications:
                if application.merchant_name == self._shop_name:
                    return str(application.application_id)
            if not page.next_page_token:
                raise StoryFailed(f"no pending application names {self._shop_name}")
            request.page_token = page.next_page_token

    async def _shop_becomes(self, state: "_Shop.State.ValueType") -> None:
        request = shop_service_pb2.GetShopRequest(shop_id=self._shop_id)
        deadline = time.monotonic() + _WAIT_SECONDS
        while True:
            shop = await self._cast.call("merchant", self._stubs.shops.GetShop, request, self._owner_token)
            if shop.state >= state:
                break
            if time.monotonic() > deadline:
                raise StoryFailed(f"the shop stays {_Shop.State.Name(shop.state)}; see {self._addresses.logs}")
            await asyncio.sleep(_PAUSE_SECONDS)
        if shop.state == _Shop.REJECTED:
            raise StoryFailed(f"the shop was rejected: {shop.rejection_reason}")

    async def _place_order(self) -> _Order:
        request = order_service_pb2.PlaceOrderRequest(
            request_id=str(uuid.uuid4()),
            shop_id=self._shop_id,
            items=[order_service_pb2.OrderItem(product_id=self._product_id, quantity=2)],
            payment_code=await self._payment_code(),
        )
        placed = await self._cast.call("buyer", self._stubs.orders.PlaceOrder, request)
        order: _Order = placed.order
        if order.state != _Order.PAID:
            raise StoryFailed(f"the order is {_Order.State.Name(order.state)} {order.decline_reason}, not PAID")
        return order

    async def _payment_code(self) -> str:
        """Have the wallet application open a wallet, put money in, and issue a code to pay with."""
        token = await self._token("wallet", self._addresses.wallet_credentials)
        opening = wallet_service_pb2.OpenWalletRequest(
            request_id=str(uuid.uuid4()), currency_code=_TOP_UP.currency_code
        )
        wallet = await self._cast.call("wallet", self._stubs.wallets.OpenWallet, opening, token)
        top_up = wallet_service_pb2.TopUpWalletRequest(
            request_id=str(uuid.uuid4()), wallet_id=wallet.wallet_id, amount=_TOP_UP
        )
        await self._cast.call("wallet", self._stubs.wallets.TopUpWallet, top_up, token)
        issuing = wallet_service_pb2.IssuePaymentCodeRequest(wallet_id=wallet.wallet_id, limit=_TOP_UP)
        code = await self._cast.call("wallet", self._stubs.wallets.IssuePaymentCode, issuing, token)
        return str(code.payment_code)


def _text(money: Money) -> str:
    return f"{money.minor_units} {money.currency_code}"
