import pytest

from mesh.security.sealing import SealBroken
from shops.sealed_secrets import SealedSecrets

SECRETS = SealedSecrets(b"k" * 32)


def test_what_is_sealed_opens_in_its_place() -> None:
    assert SECRETS.client_secret("shp_1", SECRETS.seal_client_secret("shp_1", "scs_1")) == "scs_1"
    assert SECRETS.payment_code("ord_1", SECRETS.seal_payment_code("ord_1", "pmc_1")) == "pmc_1"


def test_what_is_sealed_opens_nowhere_else() -> None:
    sealed = SECRETS.seal_client_secret("shp_1", "scs_1")
    assert b"scs_1" not in sealed
    with pytest.raises(SealBroken):
        SECRETS.client_secret("shp_2", sealed)
    with pytest.raises(SealBroken):
        SECRETS.payment_code("shp_1", sealed)
    with pytest.raises(SealBroken):
        SealedSecrets(b"x" * 32).client_secret("shp_1", sealed)
