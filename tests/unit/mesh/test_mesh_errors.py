import grpc
import pytest

from mesh.errors import Code, InvalidRequest, ServiceError


class PaymentNotFound(ServiceError):
    code = Code.NOT_FOUND


class Gone(ServiceError):
    code = Code.NOT_FOUND


class OtherPaymentNotFound(PaymentNotFound):
    pass


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (PaymentNotFound, "PAYMENT_NOT_FOUND"),
        (Gone, "GONE"),
        (OtherPaymentNotFound, "OTHER_PAYMENT_NOT_FOUND"),
        (InvalidRequest, "INVALID_REQUEST"),
    ],
)
def test_the_reason_is_the_class_name_in_capitals(error: type[ServiceError], reason: str) -> None:
    assert error.reason == reason


def test_a_subclass_inherits_the_status() -> None:
    assert OtherPaymentNotFound("gone").code is Code.NOT_FOUND


def test_an_error_carries_its_message_and_metadata() -> None:
    error = PaymentNotFound("no such payment", payment_id="pay_1")
    assert (str(error), error.message, error.metadata) == (
        "no such payment",
        "no such payment",
        {"payment_id": "pay_1"},
    )


def test_an_invalid_request_lists_each_field_in_its_message() -> None:
    error = InvalidRequest({"name": "must not be empty", "amount.units": "must be positive"})
    assert error.message == "name: must not be empty; amount.units: must be positive"
    assert error.violations == {"name": "must not be empty", "amount.units": "must be positive"}


@pytest.mark.parametrize("code", list(Code))
def test_codes_have_the_numbers_of_grpc(code: Code) -> None:
    assert grpc.StatusCode[code.name].value[0] == code
