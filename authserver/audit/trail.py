"""What every act leaves behind, in the transaction of its effect: news for replicas and gateways, and an audit line."""

from collections.abc import Callable, Sequence

from sqlalchemy import Connection

from authserver.audit.chain import AuditLine, mac_of
from authserver.audit.store import append_line, lock_head
from authserver.revocation.store import News, publish
from mesh.timestamps import to_ms

_SUBJECT_LENGTH = 200


class Trail:
    """Records acts.

    Args:
        audit_key: The key of 256 bits that the audit log is chained with.
        clock: Seconds since the epoch.

    """

    def __init__(self, audit_key: bytes, clock: Callable[[], float]) -> None:
        self._audit_key = audit_key
        self._clock = clock

    def record(
        self,
        connection: Connection,
        actor: str,
        action: str,
        subject: str,
        news: Sequence[News] = (),
        **details: str,
    ) -> None:
        """Publish the news and add the line. Comes last in a transaction: both heads stay locked until it commits.

        Args:
            connection: In the transaction of the act.
            actor: Who acted: `client:…`, `workload:…`, `operator:…` or `authserver`.
            action: What was done, such as `client.register`.
            subject: To whom or what.
            news: What replicas and gateways must hear of.
            details: Further facts. No secrets.

        """
        now_ms = to_ms(self._clock())
        publish(connection, news, now_ms)
        head = lock_head(connection)
        line = AuditLine(head.sequence + 1, now_ms, actor, action, subject[:_SUBJECT_LENGTH], details)
        append_line(connection, line, mac_of(self._audit_key, head.mac, line))
