"""The marketplace's own bearer tokens: who runs a shop, and who placed an order.

A token is an HMAC over what it stands for, so none is stored and the same one can be given out again.
"""

import base64
import hashlib
import hmac


def owner_token(key: bytes, shop_id: str, generation: int) -> str:
    """Return the token of a shop's owner. Another generation makes another token, and ends the one before."""
    return "sot_" + _mac(key, f"owner:{shop_id}:{generation}")


def order_token(key: bytes, order_id: str) -> str:
    """Return the token that reads one order."""
    return "sor_" + _mac(key, f"order:{order_id}")


def same_token(expected: str, presented: str | None) -> bool:
    """Compare tokens, in a time that does not tell how alike they are."""
    return presented is not None and hmac.compare_digest(expected.encode(), presented.encode())


def _mac(key: bytes, subject: str) -> str:
    digest = hmac.digest(key, subject.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
