"""A shop's own credentials at the payment company."""

from shops.credentials import Credentials
from shops.sealed_secrets import SealedSecrets
from shops.store.shops import Shop


def shop_credentials(secrets: SealedSecrets, shop: Shop) -> Credentials:
    """Return the credentials of an active shop.

    Raises:
        SealBroken: If they were sealed under another key.
        ValueError: If the shop has none yet.

    """
    if shop.client_id is None or shop.sealed_client_secret is None:
        raise ValueError(f"the shop {shop.shop_id} has no client")
    return Credentials(shop.client_id, secrets.client_secret(shop.shop_id, shop.sealed_client_secret))
