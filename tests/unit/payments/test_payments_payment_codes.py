import pytest

from payments.money import CurrencyMismatch, Money
from payments.payment_codes import (
    PaymentCode,
    PaymentCodeExpired,
    PaymentCodeLimitExceeded,
    PaymentCodeUsed,
    digest,
    new_code,
    require_usable,
)

CODE = PaymentCode(b"", "wal_1", Money("JPY", 500), expire_time=1000, payment_id=None)


def test_a_code_has_128_random_bits_in_unpadded_base64url() -> None:
    assert new_code(lambda size: b"\xff" * size) == "pmc_" + "_" * 21 + "w"
    assert len(digest("pmc_x")) == 32


def test_a_code_does_up_to_its_limit_until_it_expires() -> None:
    require_usable(CODE, Money("JPY", 500), 999)
    with pytest.raises(PaymentCodeLimitExceeded):
        require_usable(CODE, Money("JPY", 501), 999)
    with pytest.raises(PaymentCodeExpired):
        require_usable(CODE, Money("JPY", 500), 1000)


def test_a_code_is_for_one_payment_in_one_currency() -> None:
    used = PaymentCode(b"", "wal_1", Money("JPY", 500), expire_time=1000, payment_id="pay_1")
    with pytest.raises(PaymentCodeUsed):
        require_usable(used, Money("JPY", 1), 0)
    with pytest.raises(CurrencyMismatch):
        require_usable(CODE, Money("USD", 1), 0)
