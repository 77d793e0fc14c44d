"""docs/any-service.md says of private tokens what they say."""

import re
from pathlib import Path

import jwt

from mesh.security.private_tokens import TYP
from tests.mesh import Mesh

PAGE = Path("docs/any-service.md").read_text()
TABLE = PAGE.partition("<!-- the claims: compared with the code by the tests -->")[2].partition("\n\n")[0]
# A token may have no scope at all. None of these has.
MAY_BE_EMPTY_ELSEWHERE = {"scope"}


def test_the_claims_of_private_tokens_are_those_of_the_page(mesh: Mesh) -> None:
    tenant = mesh.tenant()
    access_tokens = [mesh.token(who) for who in ("master", "operator", "wallet")]
    access_tokens.append(mesh.token_of(tenant.client_id, tenant.client_secret))
    private_tokens = [mesh.private_token(each) for each in access_tokens]
    told = [jwt.decode(each, options={"verify_signature": False}) for each in private_tokens]

    rows = [row.strip("|").split("|") for row in TABLE.splitlines()[3:]]
    on_page = {name: empty.strip()[:3] == "yes" for names, _, empty in rows for name in re.findall(r"`(\w+)`", names)}
    for claims in told:
        assert set(claims) == set(on_page)
        assert claims["exp"] - claims["iat"] <= 300
    empty = {name for claims in told for name, value in claims.items() if value == ""}
    assert empty | MAY_BE_EMPTY_ELSEWHERE == {name for name, may_be in on_page.items() if may_be}


def test_the_header_of_private_tokens_is_that_of_the_page(mesh: Mesh) -> None:
    header = jwt.get_unverified_header(mesh.private_token(mesh.token("operator")))
    assert (header["alg"], header["typ"], set(header)) == ("ES256", TYP, {"alg", "typ", "kid"})
    assert f"`{TYP}`" in PAGE
