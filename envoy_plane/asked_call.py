"""A call that Envoy has, and asks about."""

import base64
from dataclasses import dataclass
from urllib.parse import quote

from mesh.calls import request_id
from mesh.calls.call_record import CallRecord, Metadata
from mesh.calls.error_info import DETAILS_KEY
from mesh.calls.metadata import AUTHORIZATION
from mesh.errors import ServiceError
from mesh.interceptors.errors import status_of
from sekisho.envoy.http_pb2 import HeaderMap, HeaderValue, HeaderValueOption

# Which door a question is about; Envoy says so with each, and nobody else can.
LISTENER_KEY = "x-sekisho-listener"

_OVERWRITE = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


@dataclass(frozen=True, slots=True)
class AskedCall:
    """What Envoy tells of a call.

    Attributes:
        path: The method, `/package.Service/Method`, as the caller wrote it.
        address: Where the caller is, as gRPC would name it: `ipv4:203.0.113.7:50123`.
        metadata: What the caller sent.

    """

    path: str
    address: str
    metadata: Metadata

    @classmethod
    def of(cls, path: str, address: str, headers: HeaderMap) -> "AskedCall":
        """Return the call with these headers, of which those of the transport (`:path`) are left out."""
        return cls(
            path, address, tuple((each.key, _text(each)) for each in headers.headers if not each.key.startswith(":"))
        )

    def describe(self, record: CallRecord) -> None:
        """Make the record of Envoy's question one of this call."""
        record.method = self.path
        record.workload, record.address = "", self.address
        record.metadata = self.metadata
        presented = next((value for key, value in self.metadata if key == request_id.KEY), None)
        record.request_id = request_id.adopt(presented if isinstance(presented, str) else None)


def refusal_headers(error: ServiceError) -> list[HeaderValueOption]:
    """Return the headers of an answer that says no and no more than that, with the same details as any refusal."""
    details = base64.b64encode(status_of(error).SerializeToString()).rstrip(b"=").decode()
    return [
        set_header("content-type", "application/grpc"),
        set_header("grpc-status", str(error.code.value)),
        set_header("grpc-message", _percent_encoded(error.message)),
        set_header(DETAILS_KEY, details),
    ]


def bearer(private_token: str) -> HeaderValueOption:
    """Return the header that a backend is to see in place of the caller's."""
    return set_header(AUTHORIZATION, f"Bearer {private_token}")


def set_header(name: str, value: str) -> HeaderValueOption:
    """Return a header to set in place of what goes by its name."""
    header = HeaderValue(key=name, value=value, raw_value=value.encode())
    return HeaderValueOption(header=header, append_action=_OVERWRITE)


def socket_name(ip: str, port: int) -> str:
    """Return an address as gRPC names it; an empty one if Envoy tells none."""
    if not ip:
        return ""
    return f"ipv6:%5B{ip}%5D:{port}" if ":" in ip else f"ipv4:{ip}:{port}"


def _percent_encoded(message: str) -> str:
    """Return a message as `grpc-message` carries it: printable ASCII but for the percent sign."""
    return quote(message, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~")


def _text(header: HeaderValue) -> str:
    return header.raw_value.decode("latin-1") if header.raw_value else header.value
