"""Decisions that are expected of a policy, and what becomes of them."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from mesh.access.decision import REFUSALS, MethodNotFound
from mesh.access.rules import Caller, ClientType
from mesh.config import Config, ConfigError, load
from policy.policy import Policy
from policy.similar_names import advice
from policy.sources.yaml_lines import YamlLines

ALLOWED = "ALLOWED"
_REASONS = [each.reason for each in REFUSALS]


class Expectation(Config, frozen=True):
    """One call, and what must become of it."""

    # The method, `/package.Service/Method`.
    method: str
    # `ALLOWED`, or the reason of the refusal, such as `INSUFFICIENT_SCOPE`.
    expect: str
    # The listener; absent: each one.
    listener: str | None = None
    # Of what type the client is. Absent: the call has no token.
    client_type: ClientType | None = None
    # The scopes of its token.
    scopes: frozenset[str] = frozenset()
    # What restrictions may ask for.
    client_id: str = ""
    partner_id: str = ""
    platform_id: str = ""


class Expectations(Config, frozen=True):
    """The file."""

    expectations: Annotated[tuple[Expectation, ...], msgspec.Meta(min_length=1)]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an expectation.

    Attributes:
        name: The call, in words.
        listener: By which door.
        method: The method.
        expected: What was expected.
        got: What came.
        file: Where the expectation stands.
        line: On which line.
        seconds: How long the judgement took.

    """

    name: str
    listener: str
    method: str
    expected: str
    got: str
    file: str
    line: int
    seconds: float

    @property
    def met(self) -> bool:
        """Whether it is as expected."""
        return self.expected == self.got


def results(file: Path, policy: Policy) -> Iterator[Result]:
    """Yield what becomes of the expectations in a file.

    Raises:
        ConfigError: If the file can't be read, or an expectation makes no sense.

    """
    lines = YamlLines(file)
    for number, expectation in enumerate(load(file, Expectations).expectations):
        line = lines.line("expectations", number)
        try:
            caller = _caller(policy, expectation)
        except ValueError as error:
            raise ConfigError(f"{file}:{line}: expectations[{number}]: {error}") from error
        for door in [expectation.listener] if expectation.listener else policy.doors:
            start = time.perf_counter()
            refusal = policy.judge(door, expectation.method, caller).refusal
            seconds = time.perf_counter() - start
            got = refusal.reason if refusal else ALLOWED
            name = f"{_who(expectation)} calls {expectation.method} at {door}"
            yield Result(name, door, expectation.method, expectation.expect, got, str(file), line, seconds)


def _caller(policy: Policy, expectation: Expectation) -> Caller | None:
    """Return who calls; ValueError if the expectation makes no sense."""
    if expectation.expect not in {ALLOWED, *_REASONS}:
        known = [ALLOWED, *_REASONS]
        raise ValueError(f"expect must be one of {', '.join(known)}{advice(expectation.expect, known)}")
    if expectation.listener is not None and expectation.listener not in policy.doors:
        raise ValueError(f"there is no listener {expectation.listener}{advice(expectation.listener, policy.doors)}")
    if expectation.expect != MethodNotFound.reason and expectation.method not in policy.contracts.methods:
        meant = advice(expectation.method, policy.contracts.methods)
        raise ValueError(f"no contract declares {expectation.method}{meant}")
    ids = (expectation.client_id, expectation.partner_id, expectation.platform_id)
    if expectation.client_type is None:
        if expectation.scopes or any(ids):
            raise ValueError("scopes and ids are a client's: say of what client_type")
        return None
    client_id, partner_id, platform_id = ids
    return Caller(client_id, expectation.client_type, platform_id, partner_id, expectation.scopes)


def _who(expectation: Expectation) -> str:
    if expectation.client_type is None:
        return "a caller without a token"
    scopes = " ".join(sorted(expectation.scopes)) or "no scope"
    ids = [each for each in (expectation.client_id, expectation.partner_id, expectation.platform_id) if each]
    return f"{expectation.client_type}{' ' if ids else ''}{' '.join(ids)} with {scopes}"
