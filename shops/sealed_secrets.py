"""Seals what must not be read from the database: shops' client secrets and buyers' payment codes."""

from mesh.security.sealing import seal, unseal


class SealedSecrets:
    """Seals each secret for its place, so that it opens nowhere else.

    Args:
        key: The sealing key, 256 bits.

    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal_client_secret(self, shop_id: str, secret: str) -> bytes:
        """Seal the secret of a shop's client."""
        return seal(self._key, secret.encode(), f"shop {shop_id}")

    def client_secret(self, shop_id: str, sealed: bytes) -> str:
        """Open the secret of a shop's client.

        Raises:
            SealBroken: If it was not sealed for this shop.

        """
        return unseal(self._key, sealed, f"shop {shop_id}").decode()

    def seal_payment_code(self, order_id: str, payment_code: str) -> bytes:
        """Seal the payment code of an order."""
        return seal(self._key, payment_code.encode(), f"order {order_id}")

    def payment_code(self, order_id: str, sealed: bytes) -> str:
        """Open the payment code of an order.

        Raises:
            SealBroken: If it was not sealed for this order.

        """
        return unseal(self._key, sealed, f"order {order_id}").decode()
