"""Hostile tokens, presented wherever a token is taken: none may pass, and none may leave a trace."""

from collections.abc import Callable, Iterable

import pytest

from authserver.access_tokens import TokenSealer
from authserver.clients.software_statements import TYP as STATEMENT_TYP
from authserver.clients.software_statements import StatementIssuer, verify_statement
from authserver.errors import InvalidSoftwareStatement, InvalidToken
from authserver.keys.schedule import Use
from authserver.keys.store import list_keys
from authserver.tokens.client_tokens import introspect_token
from authserver.tokens.issue import issue_token
from mesh.security import private_tokens
from mesh.security.private_tokens import InvalidPrivateToken, PrivateTokenVerifier
from mesh.security.signed_jwt import SigningKey, create_pem, public_keys, sign
from tests.databases import rows
from tests.unit.authserver.company import Company, Replica, caller_of
from tests.unit.authserver.hostile_tokens import (
    HOSTILE,
    ISSUED,
    Claims,
    claiming,
    raw_variations,
    variations,
    well_signed,
)
from tests.unit.authserver.key_changes import (
    ANNOUNCE_SECONDS,
    OVERLAP_SECONDS,
    retire_sealing_key,
    rotate_sealing_key,
)

PAYMENTS = SigningKey.from_pem(create_pem())


def private_claims(company: Company) -> Claims:
    claims = {"iss": "authserver", "aud": "payments", "iat": ISSUED, "exp": ISSUED + 300, "jti": "1"}
    return {**claims, **private_tokens.claims_of(caller_of(company.operator))}


def statement_claims() -> Claims:
    claims = {"iss": "payments", "aud": "authserver", "iat": ISSUED, "exp": ISSUED + 300, "jti": "app_9"}
    return {**claims, "partner_id": "ptr_9", "platform_id": "shops"}


async def is_taken_by_a_backend(company: Company, tokens: list[str]) -> list[bool]:
    verifier = PrivateTokenVerifier(company.key_ring.published, "authserver", "payments", company.clock)
    taken = []
    for token in tokens:
        try:
            await verifier.verify(token)
        except InvalidPrivateToken:
            taken.append(False)
        else:
            taken.append(True)
    return taken


def registers(company: Company, token: str) -> bool:
    issuers = (StatementIssuer("payments", public_keys({"keys": [PAYMENTS.public_jwk()]})),)
    try:
        company.register(statement=verify_statement(token, issuers, "authserver", company.now))
    except InvalidSoftwareStatement:
        return False
    return True


async def test_the_tokens_that_the_forged_ones_are_made_of_are_good(company: Company) -> None:
    for make in (well_signed(), claiming()):
        private = make(company.key_ring.signing_key, private_tokens.TYP, private_claims(company))
        assert await is_taken_by_a_backend(company, [private]) == [True]
    assert registers(company, well_signed()(PAYMENTS, STATEMENT_TYP, statement_claims()))


async def test_no_backend_takes_a_hostile_token(company: Company) -> None:
    key, claims = company.key_ring.signing_key, private_claims(company)
    tokens = [make(key, private_tokens.TYP, claims) for make in HOSTILE.values()]
    taken = await is_taken_by_a_backend(company, tokens)
    assert [name for name, passed in zip(HOSTILE, taken, strict=True) if passed] == []


def test_a_hostile_software_statement_registers_nobody(company: Company, database_url: str) -> None:
    before = rows(database_url)
    statements = {name: make(PAYMENTS, STATEMENT_TYP, statement_claims()) for name, make in HOSTILE.items()}
    assert [name for name, statement in statements.items() if registers(company, statement)] == []
    assert rows(database_url) == before


async def test_truncated_and_changed_tokens_are_taken_by_nobody(company: Company, database_url: str) -> None:
    private = sign(company.key_ring.signing_key, private_tokens.TYP, private_claims(company))
    assert not any(await is_taken_by_a_backend(company, list(variations(private))))
    before = rows(database_url)
    assert not any(registers(company, token) for token in variations(sign(PAYMENTS, STATEMENT_TYP, statement_claims())))
    assert rows(database_url) == before


def sealed_elsewhere(company: Company) -> str:
    """Return what another installation, whose keys have the same ids, seals for a client of the same id."""
    (key,) = (key for key in company.run(list_keys) if key.use == Use.SEALING)
    sealer = TokenSealer({key.times.key_id: bytes(32)}, key.times.key_id)
    return issue_token(sealer, company.operator.client, "", now=company.now, ttl_seconds=600).access_token


def retiring_its_key(company: Company, token: str) -> str:
    retire_sealing_key(company)
    company.key_ring.take(company.run(list_keys))
    return token


def when_its_key_is_past(company: Company, token: str) -> str:
    """Return a token that would be good still, once its key is retired by schedule."""
    rotate_sealing_key(company, at_once=False)
    company.now += ANNOUNCE_SECONDS + OVERLAP_SECONDS
    company.key_ring.take(company.run(list_keys))
    return token


# Each makes them for a company, of a token that its operator has, and of the private token for which that is exchanged.
SEALED: dict[str, Callable[[Company, str, str], Iterable[str]]] = {
    "of another installation": lambda company, *_: [sealed_elsewhere(company)],
    "of a retired key": lambda company, token, _: [retiring_its_key(company, token)],
    "of a key of the past": lambda company, token, _: [when_its_key_is_past(company, token)],
    "truncated or changed": lambda _company, token, _: variations(token),
    "with bytes cut or changed": lambda _company, token, _: raw_variations(token),
    "of a megabyte": lambda _company, token, _: ["sat_" + "A" * 1_000_000, token + "A" * 1_000_000, "A" * 1_000_000],
    "private": lambda _company, _token, private: [private],
    "signed": lambda company, *_: [
        make(company.key_ring.signing_key, private_tokens.TYP, private_claims(company)) for make in HOSTILE.values()
    ],
    "of another spelling": lambda _company, token, _: [
        spelling.format(token)
        for spelling in ("{}=", " {}", "{}\n", "{}\0", "Bearer {}", "sat_{}", "{0}{0}", "{0},{0}")
    ],
}


async def is_taken(replica: Replica, token: str) -> bool:
    """Return whether a token is exchanged, or active to its own client."""
    try:
        await replica.exchanger.exchange(token, "payments", 0)
    except InvalidToken:
        return await introspect_token(replica.tokens, replica.company.operator.client, token) is not None
    return True


@pytest.mark.parametrize("name", SEALED)
async def test_a_hostile_access_token_is_neither_exchanged_nor_active_nor_revoked(
    company: Company, database_url: str, name: str
) -> None:
    good = await company.token(company.operator, ttl_seconds=10**9)
    private = (await company.exchange(good)).private_token
    tokens = list(SEALED[name](company, good, private))
    before = rows(database_url)
    replica = Replica(company)
    assert [token for token in tokens if await is_taken(replica, token)] == []
    for token in tokens[:: len(tokens) // 20 + 1]:
        company.revoke(company.operator.client.client_id, token)
    assert rows(database_url) == before
    assert await company.exchange(await company.token(company.operator))
