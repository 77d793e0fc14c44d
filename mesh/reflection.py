"""Server reflection, under both of its names."""

from collections.abc import Iterable, Iterator
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from mesh.infrastructure import REFLECTION_SERVICES
from mesh.interceptors.wrapping import Handler

REFLECTION_METHODS = tuple(f"/{service}/ServerReflectionInfo" for service in REFLECTION_SERVICES)


class ReflectionHandler(grpc.GenericRpcHandler):
    """Describes the given services, the details that errors carry, and nothing else.

    Args:
        contracts: Where the services and all that they import are declared.
        services: Full names of the services to describe.

    """

    def __init__(self, contracts: FileDescriptorSet, services: Iterable[str]) -> None:
        """Collect the descriptors."""
        services = [*services, *REFLECTION_SERVICES]
        servicer = aio.ReflectionServicer(services, _pool(contracts, services))
        self._handler = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Return the handler, under either name."""
        return self._handler if handler_call_details.method in REFLECTION_METHODS else None


class _Pool:
    """A descriptor pool that finds methods, too: protobuf's own finds services and messages by their names only."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever else the pool has
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> FileDescriptor:  # noqa: N802 - protobuf's name
        """Return the file that declares a symbol, or the service that a method belongs to."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            declaring = self._pool.FindServiceByName(service)
            if method not in declaring.methods_by_name:
                raise
            return declaring.file


def _pool(contracts: FileDescriptorSet, services: Iterable[str]) -> _Pool:
    files = {file.name: file for file in [*contracts.file, *_standard_files()]}
    declared_in = {f"{file.package}.{service.name}": file for file in files.values() for service in file.service}
    pool, added = DescriptorPool(), set[str]()

    def add(file: FileDescriptorProto) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependency:
            add(files[dependency])
        pool.AddSerializedFile(file.SerializeToString())

    for service in services:
        if service in declared_in:
            add(declared_in[service])
    add(files[error_details_pb2.DESCRIPTOR.name])  # else grpcurl could show rich errors in base64 only
    return _Pool(pool)


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
