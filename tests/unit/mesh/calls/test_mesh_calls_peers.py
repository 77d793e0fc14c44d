from typing import Any

import pytest

from mesh.calls.peers import address_of, network_of


class FakeContext:
    def __init__(self, peer: str, *metadata: tuple[str, str | bytes]) -> None:
        self._peer = peer
        self._metadata = metadata

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:54321", "127.0.0.1"),
        ("ipv6:[::1]:54321", "::1"),
        ("ipv6:%5B2001:db8::1%5D:54321", "2001:db8::1"),
        ("unix:/tmp/socket", "unix:/tmp/socket"),
    ],
)
def test_a_call_comes_from_where_the_gateway_says_or_else_from_the_peer(peer: str, address: str) -> None:
    context: Any = FakeContext(peer, ("x-request-id", "1"))
    assert address_of(context) == address
    context = FakeContext(peer, ("x-request-id", "1"), ("x-forwarded-for", "203.0.113.7"))
    assert address_of(context) == "203.0.113.7"


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("", ""),
        ("nonsense", "nonsense"),
        ("x" * 1000, "x" * 64),
    ],
)
def test_addresses_of_one_ipv6_network_stand_for_one_caller(address: str, network: str) -> None:
    assert network_of(address) == network
