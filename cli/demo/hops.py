"""Reads from the services' logs what really happened: one hop for each call that a service answered."""

import asyncio
import contextlib
import datetime as dt
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.home import SERVICES, Home

_WAIT_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_PEER = "spiffe://sekisho/"


@dataclass(frozen=True, slots=True)
class Hop:
    """One call, as the service that answered it logged it.

    Attributes:
        caller: Who called: a service or a person.
        service: Who answered.
        method: The method, `package.Service/Method`.
        client_type: The type of the client whose token was presented; empty if none was.
        status: The status answered.
        reason: The reason of a refusal; empty otherwise.
        milliseconds: How long it took.
        request_id: What joins it with the other hops of the same call.
        start: When it began, in seconds since the epoch.

    """

    caller: str
    service: str
    method: str
    client_type: str
    status: str
    reason: str
    milliseconds: float
    request_id: str
    start: float


class HopReader:
    """Follows the logs of a mesh from where they end now."""

    def __init__(self, home: Home) -> None:
        self._logs = {service: home.log(service) for service in SERVICES}
        self._offsets = {service: log.stat().st_size for service, log in self._logs.items()}
        self._through_shops = set[str]()

    async def until(self, request_ids: Iterable[str], people: Mapping[str, str]) -> list[Hop]:
        """Return the hops since the last time, as they began, once those of the given calls are there and no more come.

        Args:
            request_ids: Of calls that have ended; their lines may lag behind the answer by an instant.
            people: Who made the calls that no service made, by request id.

        """
        waited_for, lines = set(request_ids), list[tuple[str, dict[str, Any]]]()
        deadline = time.monotonic() + _WAIT_SECONDS
        settled = False  # each service writes its lines when it likes, so those of one call come one after the other
        while not settled and time.monotonic() < deadline:
            await asyncio.sleep(_PAUSE_SECONDS)
            new = list(self._new_lines())
            lines += new
            settled = not new and waited_for <= {line["request_id"] for _, line in lines}
        self._through_shops |= {line["request_id"] for service, line in lines if service == "shops"}
        hops = [_hop(service, line, people, self._through_shops) for service, line in lines]
        return sorted(hops, key=lambda hop: hop.start)

    def _new_lines(self) -> Iterable[tuple[str, dict[str, Any]]]:
        for service, log in self._logs.items():
            content = _read_from(log, self._offsets[service])
            complete = content[: content.rfind(b"\n") + 1]
            self._offsets[service] += len(complete)
            for text in complete.splitlines():
                with contextlib.suppress(ValueError):  # what grpc itself writes stands between the lines, or in them
                    line = json.loads(text)
                    if isinstance(line, dict) and line.get("event") == "call":
                        yield service, line


def _read_from(log: Path, offset: int) -> bytes:
    with log.open("rb") as file:
        file.seek(offset)
        return file.read()


def _hop(service: str, line: dict[str, Any], people: Mapping[str, str], through_shops: set[str]) -> Hop:
    request_id = line["request_id"]
    if line["peer"].startswith(_PEER):
        caller = line["peer"].removeprefix(_PEER)
    elif service == "gateway" and (request_id in through_shops or request_id not in people):
        caller = "shops"
    else:
        caller = people.get(request_id, "?")
    ended = dt.datetime.fromisoformat(line["timestamp"]).timestamp()
    return Hop(
        caller=caller,
        service=service,
        method=line["method"].removeprefix("/"),
        client_type=line.get("client_type", ""),
        status=line["status"],
        reason=line.get("reason", ""),
        milliseconds=line["milliseconds"],
        request_id=request_id,
        start=ended - line["milliseconds"] / 1000,
    )
