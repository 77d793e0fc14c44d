import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.calls.metadata import bearer_token


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_a_bearer_token_is_found_whatever_the_schemes_case(scheme: str) -> None:
    metadata = (("user-agent", "x"), ("authorization", f"{scheme} sat_abc"), ("other", "Bearer no"))
    assert bearer_token(metadata) == "sat_abc"


@pytest.mark.parametrize("spaces", [" ", "  ", " " * 50])
def test_a_bearer_token_is_found_after_any_number_of_spaces(spaces: str) -> None:
    assert bearer_token([("authorization", f"Bearer{spaces}sat_abc")]) == "sat_abc"


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Bearer  a b",
        " Bearer a",
        "Bearer a ",
        "Bearer a b",
        "Basic a",
        "Bearer\ta",
        "Bearera",
        "a",
        "sat_abc",
        b"Bearer a",
    ],
)
def test_a_malformed_header_is_none(value: str | bytes) -> None:
    assert bearer_token([("authorization", value)]) is None


def test_no_header_is_none() -> None:
    assert bearer_token([]) is None
    assert bearer_token([("authorization-bin", b"Bearer a"), ("x-authorization", "Bearer a")]) is None


@given(st.lists(st.sampled_from(["Bearer a", "Bearer b", "", "Basic x", b"Bearer a"]), min_size=2, max_size=4))
def test_several_headers_are_none_even_if_alike(values: list[str | bytes]) -> None:
    assert bearer_token([("authorization", value) for value in values]) is None
