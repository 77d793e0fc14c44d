"""One effect for each request id (AIP-155)."""

import hashlib
import hmac
from collections.abc import Callable
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import Column, Connection, LargeBinary, MetaData, String, Table, insert, select
from sqlalchemy import bindparam as bind

from mesh.errors import Code, ServiceError
from mesh.storage.statements import DriverStatement

M = TypeVar("M", bound=Message)


class RequestIdReused(ServiceError):
    """The request id was used before, with another body."""

    code = Code.ALREADY_EXISTS


class IdempotencyTable:
    """Remembers the answer to each request id, in the transaction of its effect.

    Args:
        metadata: Of the service's tables; gets the table `idempotency_keys`.

    """

    def __init__(self, metadata: MetaData) -> None:
        table = Table(
            "idempotency_keys",
            metadata,
            Column("owner", String(80), primary_key=True),
            Column("request_id", String(64), primary_key=True),
            Column("request_digest", LargeBinary, nullable=False),
            Column("response", LargeBinary, nullable=False),
        )
        self._select = DriverStatement(
            select(table.c.request_digest, table.c.response).where(
                table.c.owner == bind("owner"), table.c.request_id == bind("request_id")
            )
        )
        self._insert = DriverStatement(insert(table))

    def once(
        self,
        connection: Connection,
        *,
        owner: str,
        request_id: str,
        request: Message,
        answer: type[M],
        effect: Callable[[], M],
    ) -> M:
        """Have the effect, or return the answer that the same request got before.

        Args:
            connection: In the transaction that the effect runs in.
            owner: Within whose requests the id is unique.
            request_id: The request's id.
            request: The whole request; its type stands for the method.
            answer: The type of the answer.
            effect: Does the work and makes the answer.

        Raises:
            RequestIdReused: If the owner used the id for another method or with another body.

        """
        key = {"owner": owner, "request_id": request_id}
        digest = _digest(request)
        if earlier := self._select.first(connection, key):
            if not hmac.compare_digest(earlier.request_digest, digest):
                raise RequestIdReused("this request_id was used with another body; a new request needs a new one")
            return answer.FromString(earlier.response)
        response = effect()
        row = {**key, "request_digest": digest, "response": response.SerializeToString()}
        self._insert.execute(connection, row)
        return response


def _digest(request: Message) -> bytes:
    named = request.DESCRIPTOR.full_name.encode() + b"\0" + request.SerializeToString(deterministic=True)
    return hashlib.sha256(named).digest()
