"""Calls services the way any outsider would: TLS, a bearer token, and an eye on the answer."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from cli.home import read_credentials
from mesh.calls import request_id as request_ids
from mesh.calls.error_info import read_error_info
from mesh.calls.metadata import AUTHORIZATION
from mesh.channels.channel import open_channel
from mesh.config import ChannelConfig
from sekisho.auth.v1 import token_service_pb2

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended.

    Attributes:
        status: The status, `OK` or another.
        reason: The reason of a refusal; empty otherwise.
        message: The words of a refusal; empty otherwise.
        response: The response; None for a refusal.
        milliseconds: How long it took.

    """

    status: str
    reason: str
    message: str
    response: Any
    milliseconds: float


def public_channel(address: str, ca: Path) -> grpc.aio.Channel:
    """Open a channel to a public address of the mesh."""
    return open_channel(ChannelConfig(target=address, ca=ca))


async def call(method: Any, request: Any, *, token: str | None = None, request_id: str) -> Answer:  # noqa: ANN401 - any
    """Call a method of a stub, with a bearer token if one is given."""
    metadata = [(request_ids.KEY, request_id)]
    if token is not None:
        metadata.append((AUTHORIZATION, f"Bearer {token}"))
    start = time.perf_counter()
    status, reason, message, response = "OK", "", "", None
    try:
        response = await method(request, metadata=metadata, timeout=_TIMEOUT_SECONDS)
    except grpc.aio.AioRpcError as error:
        status, message = error.code().name, error.details() or ""
        reason, _ = read_error_info(error)
    return Answer(status, reason, message, response, round((time.perf_counter() - start) * 1000, 1))


def token_request(credentials: Path) -> token_service_pb2.IssueTokenRequest:
    """Return the request for a token with the credentials in a file."""
    client_id, client_secret = read_credentials(credentials)
    return token_service_pb2.IssueTokenRequest(
        grant_type="client_credentials", client_id=client_id, client_secret=client_secret
    )
