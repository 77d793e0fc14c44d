import asyncio
import time
from pathlib import Path

import grpc
import pytest

from mesh.access.descriptors import Method
from mesh.access.rules import PUBLIC, Caller, ClientType, MethodRule
from mesh.calls.error_info import read_error_info
from mesh.interceptors.private_token import PrivateTokenInterceptor, current_caller
from mesh.security.private_tokens import TYP, Keys, PrivateTokenVerifier, claims_of
from mesh.security.signed_jwt import SigningKey, create_pem, public_keys, sign
from tests.unit.mesh.echo_servers import ECHO, echo, echoing, failure

KEY = SigningKey.from_pem(create_pem())
PARTNER = Caller("cli_1", ClientType.PARTNER, "shops", "ptr_1", frozenset({"payments.write"}))


async def who(_: bytes, __: object) -> bytes:
    return current_caller().client_id.encode()


async def nobody(_: bytes, __: object) -> bytes:
    try:
        return current_caller().client_id.encode()
    except LookupError:
        return b"nobody"


HANDLERS = {
    "Guarded": grpc.unary_unary_rpc_method_handler(who),
    "Public": grpc.unary_unary_rpc_method_handler(nobody),
    "Internal": grpc.unary_unary_rpc_method_handler(echo),
}
RULE = MethodRule(frozenset({ClientType.PARTNER}), frozenset({"payments.write"}))
METHODS = {
    path: Method(path, rule, client_streaming=False, server_streaming=False)
    for path, rule in ((f"/{ECHO}/Guarded", RULE), (f"/{ECHO}/Public", PUBLIC), (f"/{ECHO}/Internal", None))
}


async def fetch() -> Keys:
    return public_keys({"keys": [KEY.public_jwk()]})


def token(caller: Caller = PARTNER, key: SigningKey = KEY, **changes: object) -> str:
    now = int(time.time())
    claims = {"iss": "authserver", "aud": "backend", "iat": now, "exp": now + 300, "jti": "1", **claims_of(caller)}
    return sign(key, TYP, {**claims, **changes})


def interceptor() -> PrivateTokenInterceptor:
    return PrivateTokenInterceptor(METHODS, PrivateTokenVerifier(fetch, "authserver", "backend", time.time))


async def call(certificates: Path, method: str, *headers: str) -> bytes | tuple[grpc.StatusCode, str]:
    metadata = [("authorization", header) for header in headers]
    async with echoing(certificates, HANDLERS, [interceptor()]) as channel:
        calling = channel.unary_unary(f"/{ECHO}/{method}")(b"x", metadata=metadata)
        try:
            answer: bytes = await calling
        except grpc.aio.AioRpcError as error:
            return error.code(), read_error_info(error)[0]
        return answer


async def test_the_handler_learns_whom_the_token_speaks_for(certificates: Path) -> None:
    assert await call(certificates, "Guarded", f"Bearer {token()}") == b"cli_1"


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("",),
        ("Bearer",),
        ("Bearer garbage",),
        ("Basic x",),
        (token(),),
        (f"Bearer {token()}", f"Bearer {token()}"),
        (f"Bearer {token()}", "Bearer garbage"),
        (f"Bearer {token(key=SigningKey.from_pem(create_pem()))}",),
        (f"Bearer {token(aud='payments')}",),
        (f"Bearer {token(iss='gateway')}",),
        (f"Bearer {token(exp=int(time.time()) - 10)}",),
        (f"Bearer {token()[:-1]}",),
        ("Bearer sat_" + "A" * 200,),
    ],
)
async def test_a_call_without_exactly_one_good_token_is_refused(certificates: Path, headers: tuple[str, ...]) -> None:
    refusal = (grpc.StatusCode.UNAUTHENTICATED, "INVALID_PRIVATE_TOKEN")
    assert await call(certificates, "Guarded", *headers) == refusal


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (Caller("cli_1", ClientType.MASTER, "shops", "", PARTNER.scopes), "CLIENT_TYPE_NOT_ALLOWED"),
        (Caller("cli_1", ClientType.OPERATOR, "", "", PARTNER.scopes), "CLIENT_TYPE_NOT_ALLOWED"),
        (Caller("cli_1", ClientType.PARTNER, "shops", "ptr_1", frozenset()), "INSUFFICIENT_SCOPE"),
        (Caller("cli_1", ClientType.PARTNER, "shops", "ptr_1", frozenset({"payments.writ"})), "INSUFFICIENT_SCOPE"),
    ],
)
async def test_a_caller_that_the_rule_does_not_admit_is_refused(
    certificates: Path, caller: Caller, reason: str
) -> None:
    refusal = (grpc.StatusCode.PERMISSION_DENIED, reason)
    assert await call(certificates, "Guarded", f"Bearer {token(caller)}") == refusal


async def test_a_public_method_needs_no_token_and_believes_none(certificates: Path) -> None:
    assert await call(certificates, "Public") == b"nobody"
    assert await call(certificates, "Public", f"Bearer {token()}") == b"nobody"


async def test_an_internal_method_needs_no_token(certificates: Path) -> None:
    assert await call(certificates, "Internal") == b"x"


async def test_concurrent_calls_keep_their_callers_apart(certificates: Path) -> None:
    barrier = asyncio.Barrier(10)

    async def together(request: bytes, context: object) -> bytes:
        await barrier.wait()
        return await who(request, context)

    handlers = {"Guarded": grpc.unary_unary_rpc_method_handler(together)}
    async with echoing(certificates, handlers, [interceptor()]) as channel:
        call = channel.unary_unary(f"/{ECHO}/Guarded")
        callers = [Caller(f"cli_{i}", ClientType.PARTNER, "shops", "ptr_1", PARTNER.scopes) for i in range(10)]
        calls = [call(b"", metadata=[("authorization", f"Bearer {token(caller)}")]) for caller in callers]
        assert [await one for one in calls] == [caller.client_id.encode() for caller in callers]


async def test_a_caller_does_not_stay_for_the_next_call(certificates: Path) -> None:
    async with echoing(certificates, HANDLERS, [interceptor()]) as channel:
        guarded = channel.unary_unary(f"/{ECHO}/Guarded")
        assert await guarded(b"", metadata=[("authorization", f"Bearer {token()}")]) == b"cli_1"
        assert (await failure(guarded(b""))).code() is grpc.StatusCode.UNAUTHENTICATED
        assert await channel.unary_unary(f"/{ECHO}/Public")(b"") == b"nobody"
