"""Which secrets were used since the last time that this was written down."""

from sqlalchemy import Connection

from authserver.clients.secrets import Digest, Peppers
from authserver.clients.store.secrets import Secret, record_uses, redigest_secrets
from mesh.storage.database import Database

# Written down every minute; more secrets than that in a minute are not noted.
_MAX = 100_000


class SecretUses:
    """Notes uses in memory, so that authentication writes nothing.

    Args:
        peppers: What secrets are digested with. If that of a secret is an old one, it is digested anew as it is used.

    """

    def __init__(self, peppers: Peppers) -> None:
        self._peppers = peppers
        self._uses: dict[str, int] = {}
        self._digests: dict[str, Digest] = {}

    def note(self, secret: Secret, presented: str, now_ms: int) -> None:
        """Note that a secret, as it was presented, is right."""
        if len(self._uses) < _MAX or secret.secret_id in self._uses:
            self._uses[secret.secret_id] = now_ms
            if not self._peppers.is_current(secret.digest):
                self._digests[secret.secret_id] = self._peppers.digest(presented)

    async def write(self, database: Database) -> None:
        """Write down what was noted, and start anew.

        Raises:
            DatabaseUnavailable: If the database can't be reached; what was noted stays so.

        """
        uses, digests = dict(self._uses), dict(self._digests)
        if not uses:
            return

        def write(connection: Connection) -> None:
            record_uses(connection, sorted(uses.items()))
            redigest_secrets(connection, sorted(digests.items()))

        await database.run(write)
        self._uses = {id_: time for id_, time in self._uses.items() if uses.get(id_) != time}
        self._digests = {id_: digest for id_, digest in self._digests.items() if id_ not in digests}
