"""Server reflection, under both of its names."""

from collections.abc import Iterable

import grpc
from google.protobuf import duration_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import aio

from mesh.interceptors.wrapping import Handler

# The two versions are alike on the wire; clients ask for v1 first, and older ones know v1alpha only.
REFLECTION_SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
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


def _pool(contracts: FileDescriptorSet, services: Iterable[str]) -> DescriptorPool:
    files = {file.name: file for file in [*contracts.file, *_error_details()]}
    declared_in = {f"{file.package}.{service.name}": file for file in contracts.file for service in file.service}
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
    return pool


def _error_details() -> list[FileDescriptorProto]:
    described = [FileDescriptorProto(), FileDescriptorProto()]
    duration_pb2.DESCRIPTOR.CopyToProto(described[0])
    error_details_pb2.DESCRIPTOR.CopyToProto(described[1])
    return described
