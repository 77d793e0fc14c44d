import asyncio

import pytest

from mesh.access.rules import Caller, ClientType
from mesh.errors import Code, ServiceError
from mesh.security.private_tokens import TYP, InvalidPrivateToken, Keys, PrivateTokenVerifier, caller_of, claims_of
from mesh.security.signed_jwt import SigningKey, create_pem, public_keys, sign

NOW = 1_000_000.0
KEY = SigningKey.from_pem(create_pem())
NEW_KEY = SigningKey.from_pem(create_pem())
CALLER = Caller("cli_1", ClientType.PARTNER, "shops", "ptr_1", frozenset({"payments.write", "payments.read"}))


class KeysDown(ServiceError):
    code = Code.UNAVAILABLE


class AuthServer:
    """What a verifier needs of it: a time, and published keys. Counts the fetches."""

    def __init__(self) -> None:
        self.now = NOW
        self.published = [KEY]
        self.fetches = 0
        self.up = True
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()

    async def fetch(self) -> Keys:
        self.fetches += 1
        self.asked.set()
        await self.may_answer.wait()
        if not self.up:
            raise KeysDown("the keys are not available")
        return public_keys({"keys": [key.public_jwk() for key in self.published]})

    def verifier(self) -> PrivateTokenVerifier:
        return PrivateTokenVerifier(self.fetch, "authserver", "payments", lambda: self.now)


@pytest.fixture
def auth_server() -> AuthServer:
    return AuthServer()


@pytest.fixture
def verifier(auth_server: AuthServer) -> PrivateTokenVerifier:
    return auth_server.verifier()


def token(key: SigningKey = KEY, typ: str = TYP, now: float = NOW, **changes: object) -> str:
    claims = {"iss": "authserver", "aud": "payments", "iat": int(now), "exp": int(now) + 300, "jti": "1"}
    return sign(key, typ, {**claims, **claims_of(CALLER), **changes})


async def test_a_token_speaks_for_its_caller(verifier: PrivateTokenVerifier) -> None:
    assert await verifier.verify(token()) == CALLER


@pytest.mark.parametrize(
    "caller",
    [
        CALLER,
        Caller("c", ClientType.OPERATOR, "", "", frozenset()),
        Caller("c", ClientType.WALLET, "", "", frozenset("a")),
    ],
)
def test_claims_give_back_the_caller_that_they_were_made_of(caller: Caller) -> None:
    assert caller_of(claims_of(caller)) == caller


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "garbage",
        "sat_" + "A" * 100,
        token(NEW_KEY),
        token(typ="JWT"),
        token(typ="software-statement+jwt"),
        token(aud="authserver"),
        token(iss="payments"),
        token(exp=int(NOW) - 5),
        token(client_type="ROOT"),
        token(client_type="partner"),
        token(client_type=["PARTNER"]),
        token(client_type=None),
    ],
)
async def test_a_token_that_is_not_good_here_is_refused(verifier: PrivateTokenVerifier, bad: str) -> None:
    with pytest.raises(InvalidPrivateToken) as caught:
        await verifier.verify(bad)
    assert caught.value.code is Code.UNAUTHENTICATED


@pytest.mark.parametrize("name", list(claims_of(CALLER)))
async def test_a_token_without_one_of_the_callers_claims_is_refused(verifier: PrivateTokenVerifier, name: str) -> None:
    claims = {"iss": "authserver", "aud": "payments", "iat": int(NOW), "exp": int(NOW) + 300, "jti": "1"}
    rest = {claim: value for claim, value in claims_of(CALLER).items() if claim != name}
    with pytest.raises(InvalidPrivateToken):
        await verifier.verify(sign(KEY, TYP, {**claims, **rest}))


@pytest.mark.parametrize(
    "changes", [{"scope": 5}, {"scope": ["a"]}, {"scope": None}, {"client_id": None}, {"partner_id": 5}]
)
async def test_a_token_whose_claims_are_no_texts_is_refused(
    verifier: PrivateTokenVerifier, changes: dict[str, object]
) -> None:
    with pytest.raises(InvalidPrivateToken):
        await verifier.verify(token(**changes))


async def test_keys_are_fetched_by_the_first_token_and_then_kept(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    assert auth_server.fetches == 0
    for _ in range(5):
        await verifier.verify(token())
    assert auth_server.fetches == 1


async def test_keys_are_fetched_again_once_they_are_not_fresh(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    auth_server.now += 30
    await verifier.verify(token(now=auth_server.now))
    assert auth_server.fetches == 1
    auth_server.now += 1
    for _ in range(3):
        await verifier.verify(token(now=auth_server.now))
    assert auth_server.fetches == 2


async def test_a_withdrawn_key_verifies_nothing_after_thirty_seconds(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    auth_server.published = [NEW_KEY]
    auth_server.now += 31
    with pytest.raises(InvalidPrivateToken):
        await verifier.verify(token(now=auth_server.now))


async def test_while_the_auth_server_is_down_known_keys_verify_until_they_are_five_minutes_old(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    auth_server.up = False
    for seconds, fetches in ((31, 2), (5, 2), (264, 3)):
        auth_server.now += seconds
        for _ in range(3):
            assert await verifier.verify(token(now=auth_server.now)) == CALLER
        assert auth_server.fetches == fetches
    auth_server.now += 1
    with pytest.raises(KeysDown):
        await verifier.verify(token(now=auth_server.now))
    auth_server.up = True
    assert await verifier.verify(token(now=auth_server.now)) == CALLER


async def test_unknown_keys_are_looked_for_at_most_once_per_interval(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    for seconds, fetches in ((0, 1), (10, 1), (0.1, 2), (5, 2), (5, 2), (0.2, 3)):
        auth_server.now += seconds
        for _ in range(3):
            with pytest.raises(InvalidPrivateToken):
                await verifier.verify(token(NEW_KEY))
        assert auth_server.fetches == fetches


async def test_a_new_key_is_found_when_its_first_token_comes(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    auth_server.published = [KEY, NEW_KEY]
    auth_server.now += 11
    assert await verifier.verify(token(NEW_KEY)) == CALLER


async def test_what_is_no_jwt_fetches_nothing(auth_server: AuthServer, verifier: PrivateTokenVerifier) -> None:
    for bad in ("", "garbage", "a.b.c", "A" * 10_000):
        with pytest.raises(InvalidPrivateToken):
            await verifier.verify(bad)
    assert auth_server.fetches == 0


async def test_concurrent_tokens_fetch_once(auth_server: AuthServer, verifier: PrivateTokenVerifier) -> None:
    auth_server.may_answer.clear()
    verifying = asyncio.gather(*(verifier.verify(token()) for _ in range(50)))
    await auth_server.asked.wait()
    auth_server.may_answer.set()
    assert await verifying == [CALLER] * 50
    assert auth_server.fetches == 1


async def test_a_token_that_comes_while_the_first_keys_are_fetched_waits_for_them(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    auth_server.may_answer.clear()
    first = asyncio.create_task(verifier.verify(token()))
    await auth_server.asked.wait()
    second = asyncio.create_task(verifier.verify(token()))
    await asyncio.sleep(0)
    auth_server.may_answer.set()
    assert await asyncio.gather(first, second, return_exceptions=True) == [CALLER, CALLER]
    assert auth_server.fetches == 1


async def test_as_long_as_there_are_no_keys_the_answer_is_that_they_are_unavailable(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    auth_server.up = False
    codes = []
    for _ in range(3):
        with pytest.raises(ServiceError) as caught:
            await verifier.verify(token())
        codes.append(caught.value.code)
        auth_server.now += 1
    assert codes == [Code.UNAVAILABLE] * 3


async def test_without_keys_the_answer_is_that_they_are_unavailable_and_the_next_try_may_succeed(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    auth_server.up = False
    with pytest.raises(KeysDown):
        await verifier.verify(token())
    auth_server.up = True
    auth_server.now += 11
    assert await verifier.verify(token()) == CALLER


async def test_unknown_keys_are_looked_for_once_per_interval_while_the_auth_server_is_down(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    auth_server.up = False
    auth_server.now += 11
    for _ in range(3):
        with pytest.raises(ServiceError):
            await verifier.verify(token(NEW_KEY))
    assert auth_server.fetches == 2


async def test_a_known_key_is_not_held_up_by_the_search_for_an_unknown_one(
    auth_server: AuthServer, verifier: PrivateTokenVerifier
) -> None:
    await verifier.verify(token())
    auth_server.now += 11
    auth_server.asked.clear()
    auth_server.may_answer.clear()
    searching = asyncio.create_task(verifier.verify(token(NEW_KEY)))
    await auth_server.asked.wait()
    try:
        assert await asyncio.wait_for(verifier.verify(token()), 0.2) == CALLER
    finally:
        auth_server.may_answer.set()
        with pytest.raises(InvalidPrivateToken):
            await searching
