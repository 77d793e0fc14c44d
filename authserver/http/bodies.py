"""Reads what clients send, in bounded size: forms (RFC 6749 §3.2) and JSON objects (RFC 7591 §3.1)."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request

from authserver.http.refusals import Refused, invalid_request

MAX_BYTES = 64 * 1024

_MAX_FIELDS = 50
_TOO_LARGE = f"the body has more than {MAX_BYTES} bytes"


async def read_form(request: Request, seconds: float) -> Mapping[str, str]:
    """Return the parameters of a form. Those without a value count as absent (RFC 6749 §3.2).

    Raises:
        Refused: If it is no form, a parameter is repeated, or there are parameters in the URL.

    """
    if request.scope["query_string"]:  # secrets there would end up in logs (RFC 6749 §2.3.1)
        raise invalid_request("parameters belong in the body, not in the URL")
    body = await _read(request, "application/x-www-form-urlencoded", seconds)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise invalid_request("the body can't be read as a form of UTF-8 text") from error
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise invalid_request("a parameter is there more than once")
    return {name: value for name, value in parameters.items() if value}


async def read_json(request: Request, seconds: float) -> dict[str, object]:
    """Return the fields of a JSON object. Those that are null count as absent (RFC 7592 §2.2).

    Raises:
        Refused: If it is none.

    """
    body = await _read(request, "application/json", seconds)
    try:
        fields = msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "invalid_client_metadata", "the body must be a JSON object") from error
    return {name: value for name, value in fields.items() if value is not None}


async def _read(request: Request, content_type: str, seconds: float) -> bytes:
    sent, _, _ = request.headers.get("content-type", "").partition(";")
    if sent.strip().lower() != content_type:
        raise invalid_request(f"the body must be {content_type}")
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BYTES:
        raise invalid_request(_TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise invalid_request(_TOO_LARGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    except TimeoutError as error:
        raise invalid_request("the body took too long", HTTPStatus.REQUEST_TIMEOUT) from error
    except ClientDisconnect as error:
        raise invalid_request("the client went away") from error
    return bytes(body)
