"""Reads methods and their access rules out of compiled contracts."""

from __future__ import annotations  # enum types of generated code exist for type checkers only

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources

from google.protobuf.descriptor_pb2 import FileDescriptorSet, MethodDescriptorProto, MethodOptions
from google.protobuf.unknown_fields import UnknownFieldSet

from mesh.access.rules import ClientType, MethodRule
from mesh.errors import Mendable
from sekisho.access.v1 import access_pb2

_PREFIX = "CLIENT_TYPE_"


class PolicyError(Mendable):
    """A contract says something about access that makes no sense; the message names the method."""


@dataclass(frozen=True, slots=True)
class Method:
    """One method of a contract.

    Attributes:
        path: Its name on the wire, `/package.Service/Method`.
        rule: Who may call it; None makes it internal.
        client_streaming: Whether the client sends a stream.
        server_streaming: Whether the server sends a stream.
        idempotent: Whether it may be called again if it is unknown whether the first call was done.

    """

    path: str
    rule: MethodRule | None
    client_streaming: bool
    server_streaming: bool
    idempotent: bool = False

    @property
    def service(self) -> str:
        """The full name of the service, `package.Service`."""
        return service_of(self.path)


def service_of(path: str) -> str:
    """Return the service part of a method's name on the wire."""
    return path[1:].rpartition("/")[0]


def read_methods(contracts: FileDescriptorSet) -> Mapping[str, Method]:
    """Return all methods of the contracts, by their path.

    Raises:
        PolicyError: If a rule is empty, contradicts itself or is of a later version, or a method is declared twice.

    """
    methods: dict[str, Method] = {}
    for method in _methods(contracts):
        if method.path in methods:
            raise PolicyError(f"{method.path} is declared twice")
        methods[method.path] = method
    return methods


def own_contracts() -> FileDescriptorSet:
    """Return Sekisho's own contracts, compiled, with their comments and line numbers."""
    return FileDescriptorSet.FromString(resources.files("sekisho").joinpath("contracts.binpb").read_bytes())


def _methods(contracts: FileDescriptorSet) -> Iterator[Method]:
    for file in contracts.file:
        for service in file.service:
            for method in service.method:
                path = f"/{file.package}.{service.name}/{method.name}".replace("/.", "/", 1)
                idempotent = method.options.idempotency_level != MethodOptions.IDEMPOTENCY_UNKNOWN
                yield Method(path, _rule(path, method), method.client_streaming, method.server_streaming, idempotent)


def _rule(path: str, method: MethodDescriptorProto) -> MethodRule | None:
    if not method.options.HasExtension(access_pb2.rule):
        return None
    option = method.options.Extensions[access_pb2.rule]
    if len(UnknownFieldSet(option)):  # it may say that somebody may not
        raise PolicyError(f"{path}: the rule has a part that this version of Sekisho does not know")
    try:
        types = [client_type_of(number) for number in option.client_types]
        return MethodRule(frozenset(types), frozenset(option.scopes), option.public)
    except ValueError as error:
        raise PolicyError(f"{path}: {error}") from error


def client_type_number(client_type: ClientType) -> access_pb2.ClientType.ValueType:
    """Return a client type as contracts write it."""
    return access_pb2.ClientType.Value(f"{_PREFIX}{client_type}")


def client_type_of(number: int) -> ClientType:
    """Return the client type that contracts write so.

    Raises:
        ValueError: If there is none.

    """
    value = access_pb2.ClientType.DESCRIPTOR.values_by_number.get(number)
    return ClientType(value.name.removeprefix(_PREFIX) if value else f"client type {number}")
