"""Reads the rich errors that services answer with."""

from collections.abc import Mapping

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

DETAILS_KEY = "grpc-status-details-bin"


def read_error_info(error: grpc.aio.AioRpcError) -> tuple[str, Mapping[str, str]]:
    """Return reason and metadata of an error's `google.rpc.ErrorInfo` (AIP-193); empty ones if it carries none."""
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            details = Status.FromString(value).details
            info = ErrorInfo()
            if any(detail.Unpack(info) for detail in details):
                return info.reason, dict(info.metadata)
        except DecodeError:
            break
    return "", {}
