from dataclasses import replace

import pytest

from cli.demo.hops import Hop
from cli.demo.sequence import draw_sequence, short, without_repeats

HOP = Hop("shops", "gateway", "a.Pay/Pay", "PARTNER", "OK", "", 1.0, "req-1", 0.0)


def test_each_hop_is_an_arrow_between_two_lifelines() -> None:
    hops = [
        replace(HOP, caller="buyer", service="shops", client_type=""),
        HOP,
        replace(HOP, caller="gateway", service="payments"),
        replace(HOP, caller="payments", service="authserver", method="a.Keys/List", client_type=""),
        replace(HOP, caller="operator", client_type="OPERATOR"),
    ]
    assert draw_sequence(hops) == [
        "   people      shops      gateway    authserver   payments",
        "     │──────────▶│           │           │           │       buyer: Pay",
        "     │           │──────────▶│           │           │       Pay PARTNER",
        "     │           │           │──────────────────────▶│       Pay PARTNER",
        "     │           │           │           │◀──────────│       List",
        "     │──────────────────────▶│           │           │       operator: Pay OPERATOR",
    ]


def test_without_hops_there_are_only_the_names() -> None:
    assert len(draw_sequence([])) == 1


@pytest.mark.parametrize(
    ("difference", "shown"),
    [
        ({}, 1),
        ({"milliseconds": 9.0, "request_id": "req-2", "start": 5.0}, 1),
        ({"caller": "buyer"}, 2),
        ({"service": "shops"}, 2),
        ({"method": "a.Pay/Refund"}, 2),
        ({"client_type": "MASTER"}, 2),
        ({"status": "NOT_FOUND"}, 2),
        ({"reason": "PAYMENT_NOT_FOUND"}, 2),
    ],
)
def test_a_hop_that_looks_like_one_before_is_left_out(difference: dict[str, object], shown: int) -> None:
    other = replace(HOP, **difference)  # type: ignore[arg-type]
    assert list(without_repeats([HOP, other, HOP, other])) == [HOP, other][:shown]


def test_a_method_is_called_by_its_last_name() -> None:
    assert short(HOP) == "Pay"
