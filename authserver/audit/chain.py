"""The chain of the audit log: each line's MAC covers the line and the MAC of the line before (HMAC-SHA-256)."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

# The MAC before the first line.
GENESIS = bytes(hashlib.sha256().digest_size)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the log.

    Attributes:
        sequence: Its number, from 1 on, without gaps.
        time: When it was written, in milliseconds since the epoch.
        actor: Who acted: `client:…`, `workload:…`, `operator:…` for the command line, or `authserver` itself.
        action: What was done, such as `client.register`.
        subject: To whom or what.
        details: Further facts. No secrets.

    """

    sequence: int
    time: int
    actor: str
    action: str
    subject: str
    details: Mapping[str, str]


def mac_of(key: bytes, previous: bytes, line: AuditLine) -> bytes:
    """Return the MAC of a line that comes after the line with the previous MAC."""
    fields = [line.sequence, line.time, line.actor, line.action, line.subject, sorted(line.details.items())]
    return hmac.digest(key, previous + msgspec.json.encode(fields), hashlib.sha256)


def head_signature(key: bytes, time: int, sequence: int, mac: bytes) -> bytes:
    """Return what an exported head is signed with: the time, and the number and the MAC of the last line.

    Made with the key of the chain, which whoever checks heads needs anyway. A line is chained by a text that begins
    with a MAC, so that no line stands for a head.
    """
    return hmac.digest(key, b"sekisho audit head" + msgspec.json.encode([time, sequence, mac.hex()]), hashlib.sha256)
