"""Pages of lists (AIP-158), keyed by the id of the last row seen."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from mesh.errors import InvalidRequest

T = TypeVar("T")

_DEFAULT_SIZE = 50
_MAX = 100
_ID = re.compile(r"[a-z]{3}_[0-9a-z]{26}")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for.

    Attributes:
        size: At most how many rows.
        after: The id of the last row of the page before; empty for the first page.

    """

    size: int
    after: str

    @property
    def limit(self) -> int:
        """How many rows to select: one more than asked for tells whether there is a next page."""
        return self.size + 1

    def cut(self, rows: Sequence[T], last_id: str) -> tuple[Sequence[T], str]:
        """Return the page's rows and the token of the next page, empty if there is none.

        Args:
            rows: What was selected, at most `limit`.
            last_id: The name of the attribute that has the id.

        """
        if len(rows) <= self.size:
            return rows, ""
        rows = rows[: self.size]
        return rows, _encode(getattr(rows[-1], last_id))


def parse_page(page_size: int, page_token: str) -> Page:
    """Read the paging fields of a request.

    Raises:
        InvalidRequest: If the size is negative, or the token is none that this service gave.

    """
    if page_size < 0:
        raise InvalidRequest({"page_size": "must not be negative"})
    return Page(min(page_size or _DEFAULT_SIZE, _MAX), _decode(page_token) if page_token else "")


def _encode(last_id: str) -> str:
    return base64.urlsafe_b64encode(last_id.encode()).decode()


def _decode(page_token: str) -> str:
    try:
        last_id = base64.urlsafe_b64decode(page_token.encode()).decode()
    except (binascii.Error, UnicodeError):
        last_id = ""
    # The decoder skips what it does not know; encoding again shows whether there was any of it.
    if not _ID.fullmatch(last_id) or _encode(last_id) != page_token:
        raise InvalidRequest({"page_token": "must be a next_page_token from this list, unchanged"})
    return last_id
