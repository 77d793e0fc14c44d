"""Server reflection, under both of its names."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, TypeVar

import grpc
from google.protobuf import duration_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from mesh.calls.infrastructure import HEALTH_SERVICE, REFLECTION_SERVICES
from mesh.calls.wrapping import Context, Handler
from mesh.serving.pruned_contracts import PrunedContracts

T = TypeVar("T")

# Kept of what is pruned for calls that may see different methods; those that were asked for last.
_MAX_PRUNED = 32
REFLECTION_METHODS = tuple(f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES)


class ReflectionHandler(grpc.GenericRpcHandler):
    """Describes the given services, health, reflection, the details that errors carry, and nothing else.

    Args:
        declared: The services to describe, by their full names, each with the contracts that declare it and all that
            they import. Of a file, different contracts may have different versions.
        shown: Returns the methods of these services, by their paths, that the current call may see; it sees what they
            need, and no more. Absent: every call sees all.

    """

    def __init__(
        self, declared: Mapping[str, FileDescriptorSet], shown: Callable[[], frozenset[str]] | None = None
    ) -> None:
        self._declared = declared
        self._shown = shown
        self._contracts = {id(each): PrunedContracts(each) for each in declared.values()} if shown else {}
        self._whole = None if shown else _servicer(declared)
        self._pruned = lru_cache(_MAX_PRUNED)(self._prune)
        self._handler = grpc.stream_stream_rpc_method_handler(
            self._describe,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler, under either name."""
        return self._handler if handler_call_details.method in REFLECTION_METHODS else None

    async def _describe(
        self, requests: AsyncIterable[reflection_pb2.ServerReflectionRequest], context: Context
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        # In a thread: the first call that may see something else takes milliseconds.
        servicer: Any = self._whole or await asyncio.to_thread(
            self._pruned, self._shown() if self._shown else frozenset()
        )
        async for response in servicer.ServerReflectionInfo(requests, context):
            yield response

    def _prune(self, methods: frozenset[str]) -> aio.ReflectionServicer:
        """Return what describes some methods."""
        paths, services = defaultdict[int, list[str]](list), dict[str, int]()
        for path in methods:
            service = path[1:].partition("/")[0]
            services[service] = id(self._declared[service])
            paths[services[service]].append(path)
        pruned = {each: self._contracts[each].with_methods(those) for each, those in paths.items()}
        return _servicer({service: pruned[each] for service, each in services.items()})


def _servicer(declared: Mapping[str, FileDescriptorSet]) -> aio.ReflectionServicer:
    standard = FileDescriptorSet(file=_standard_files())
    declared = {**declared, **dict.fromkeys((HEALTH_SERVICE, *REFLECTION_SERVICES), standard)}
    return aio.ReflectionServicer(declared, _Pools(declared))


class _Pools:
    """What the servicer asks of a descriptor pool, answered by several: one for each of the contracts.

    Other than protobuf's own, it finds methods by their names, too.
    """

    def __init__(self, declared: Mapping[str, FileDescriptorSet]) -> None:
        services: dict[int, list[str]] = {}
        for service, contracts in declared.items():
            services.setdefault(id(contracts), []).append(service)
        pools = {id(each): _pool(each, services[id(each)]) for each in declared.values()}
        self._of_service = {service: pools[id(contracts)] for service, contracts in declared.items()}
        self._all = pools.values()

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name, as below
        """Return the file that declares a symbol, or the service that a method belongs to."""
        service, _, method = symbol.rpartition(".")
        if symbol in self._of_service:
            return self._of_service[symbol].FindFileContainingSymbol(symbol)
        if service in self._of_service:
            declaring = self._of_service[service].FindServiceByName(service)
            return declaring.methods_by_name[method].containing_service.file
        return self._first(lambda pool: pool.FindFileContainingSymbol(symbol))

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802
        return self._first(lambda pool: pool.FindFileByName(name))

    def FindMessageTypeByName(self, name: str) -> Descriptor:  # noqa: N802
        return self._first(lambda pool: pool.FindMessageTypeByName(name))

    def FindExtensionByNumber(self, message: Descriptor, number: int) -> FieldDescriptor:  # noqa: N802
        return message.file.pool.FindExtensionByNumber(message, number)

    def FindAllExtensions(self, message: Descriptor) -> list[FieldDescriptor]:  # noqa: N802
        return message.file.pool.FindAllExtensions(message)

    def _first(self, find: Callable[[DescriptorPool], T]) -> T:
        for pool in self._all:
            with suppress(KeyError):
                return find(pool)
        raise KeyError


def _pool(contracts: FileDescriptorSet, services: Iterable[str]) -> DescriptorPool:
    """Return the files that declare services, with all that they import."""
    files = {file.name: file for file in contracts.file}
    declared_in = {f"{file.package}.{each.name}".lstrip("."): file for file in files.values() for each in file.service}
    pool, added = DescriptorPool(), set[str]()

    def add(file: FileDescriptorProto) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependency:
            add(files[dependency])
        pool.AddSerializedFile(file.SerializeToString())

    for service in services:
        add(declared_in[service])
    if details := files.get(error_details_pb2.DESCRIPTOR.name):
        add(details)  # else grpcurl could show rich errors in base64 only
    return pool


def _standard_files() -> Iterator[FileDescriptorProto]:
    """Return what every server may describe: the details of errors, health, and reflection under both names."""
    for module in (duration_pb2, error_details_pb2, health_pb2, reflection_pb2):
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        yield file
    yield _renamed(file)


def _renamed(v1alpha: FileDescriptorProto) -> FileDescriptorProto:
    """Return the declaration of reflection v1, which grpcio does not ship: v1alpha's, under the other name."""

    def rename(name: str) -> str:
        return name.replace("v1alpha", "v1")

    file = FileDescriptorProto()
    file.CopyFrom(v1alpha)
    file.name, file.package = rename(file.name), rename(file.package)
    for message in file.message_type:
        for field in message.field:
            if field.type_name:
                field.type_name = rename(field.type_name)
    for service in file.service:
        for method in service.method:
            method.input_type, method.output_type = rename(method.input_type), rename(method.output_type)
    return file
