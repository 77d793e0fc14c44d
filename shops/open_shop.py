"""Takes down that a merchant wants a shop. `opening` does the rest."""

from sqlalchemy import Connection

from shops.opening_states import OpeningState
from shops.store.shops import Shop, insert_shop


def open_shop(
    connection: Connection,
    *,
    shop_id: str,
    display_name: str,
    contact_email: str,
    business_description: str,
    now: int,
) -> Shop:
    """Write a shop whose application is yet to be submitted; `now` in milliseconds."""
    shop = Shop(
        shop_id=shop_id,
        display_name=display_name,
        contact_email=contact_email,
        business_description=business_description,
        generation=0,
        state=OpeningState.APPLYING,
        application_id=None,
        partner_id=None,
        client_id=None,
        sealed_client_secret=None,
        rejection_reason=None,
        attempts=0,
        next_attempt_time=now,
        create_time=now,
    )
    insert_shop(connection, shop)
    return shop
