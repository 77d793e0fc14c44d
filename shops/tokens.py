"""Access tokens for the payment company's gateway: one per client, kept until shortly before they expire."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mesh.single_flight import SingleFlight
from shops.credentials import Credentials

_MAX_KEPT = 1024
_MARGIN = 0.1  # of a token's life, in which it is no longer handed out: a call must not outlive its token
_MAX_MARGIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class NewToken:
    """An access token.

    Attributes:
        access_token: The bearer token.
        expires_in: Seconds from the moment it was asked for until it expires.

    """

    access_token: str = field(repr=False)
    expires_in: float


class TokenSource:
    """Hands out access tokens, and asks for a new one before the old one expires.

    However many callers need a token of one client at once, it is asked for once.

    Args:
        issue: Asks the auth server for a token; what it raises reaches every caller that waits for it.
        clock: Seconds, from any start, that never go back.

    """

    def __init__(self, issue: Callable[[Credentials], Awaitable[NewToken]], clock: Callable[[], float]) -> None:
        self._issue = issue
        self._clock = clock
        self._kept: OrderedDict[Credentials, tuple[str, float]] = OrderedDict()
        self._asked = SingleFlight[Credentials, str]()

    async def get(self, credentials: Credentials) -> str:
        """Return a token with a good part of its life before it."""
        token, fresh_until = self._kept.get(credentials, ("", 0.0))
        if token and self._clock() < fresh_until:
            self._kept.move_to_end(credentials)
            return token
        return await self._asked.do(credentials, lambda: self._ask(credentials))

    def drop(self, credentials: Credentials, token: str) -> None:
        """Forget a token that was refused, unless it has been replaced already."""
        if self._kept.get(credentials, ("", 0.0))[0] == token:
            del self._kept[credentials]

    async def _ask(self, credentials: Credentials) -> str:
        asked = self._clock()
        issued = await self._issue(credentials)
        margin = min(issued.expires_in * _MARGIN, _MAX_MARGIN_SECONDS)
        self._kept[credentials] = (issued.access_token, asked + issued.expires_in - margin)
        self._kept.move_to_end(credentials)
        while len(self._kept) > _MAX_KEPT:
            self._kept.popitem(last=False)
        return issued.access_token
