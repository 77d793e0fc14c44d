"""The keys that the auth server's own keys lie encrypted under."""

from collections.abc import Sequence

from mesh.security.sealing import SealBroken, seal, unseal


class KeyEncryption:
    """Encrypts keys for storage.

    Args:
        keys: Key-encryption keys of 256 bits: the first one seals, each opens what it sealed.

    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def seal(self, material: bytes, use: str) -> bytes:
        """Encrypt a key for a use."""
        return seal(self._keys[0], material, _place(use))

    def unseal(self, sealed: bytes, use: str) -> bytes:
        """Decrypt a key.

        Raises:
            SealBroken: If none of the keys sealed it for this use.

        """
        for key in self._keys[1:]:
            try:
                return unseal(key, sealed, _place(use))
            except SealBroken:
                continue
        return unseal(self._keys[0], sealed, _place(use))

    def is_current(self, sealed: bytes, use: str) -> bool:
        """Return whether the first of the keys sealed it."""
        try:
            unseal(self._keys[0], sealed, _place(use))
        except SealBroken:
            return False
        return True


def _place(use: str) -> str:
    return f"{use} key"
