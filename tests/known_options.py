"""No server and no channel is made with an option that the installed gRPC does not know: it would just ignore it."""

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
from grpc._cython import cygrpc

_MAKERS = ("server", "insecure_channel", "secure_channel")
_SERVICE_CONFIG = "grpc.service_config"


def pytest_configure() -> None:
    """Look at the options of whatever is made from now on."""
    for name in _MAKERS:
        setattr(grpc.aio, name, _looking(getattr(grpc.aio, name)))


def unknown_options(options: list[tuple[str, Any]]) -> list[str]:
    """Return those that the core has no name for, and what it has no name for in a service config."""
    unknown = [name for name, _ in options if not _knows(name)]
    for name, value in options:
        if name == _SERVICE_CONFIG:
            unknown += [f"{name}: {key}" for key in _keys(json.loads(value)) if not _knows(key)]
    return unknown


def _looking(make: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(make)

    @functools.wraps(make)
    def made(*args: Any, **kwargs: Any) -> Any:
        options = signature.bind(*args, **kwargs).arguments.get("options")
        unknown = unknown_options(list(options or ()))
        assert not unknown, f"gRPC does not know {unknown}"
        return make(*args, **kwargs)

    return made


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from _keys(inner)
    elif isinstance(value, list):
        for each in value:
            yield from _keys(each)


@functools.cache
def _knows(name: str) -> bool:
    """Say whether a name is among the core's strings, and no part of a longer one."""
    core, wanted = _core(), name.encode()
    at = core.find(wanted)
    while at >= 0:
        before, after = core[at - 1 : at], core[at + len(wanted) : at + len(wanted) + 1]
        if not (before.isalpha() or before == b"_" or after.isalpha() or after in {b"_", b"."}):
            return True
        at = core.find(wanted, at + 1)
    return False


@functools.cache
def _core() -> bytes:
    return Path(cygrpc.__file__).read_bytes()
