"""Where in contracts a method and its rule stand."""

from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from sekisho.access.v1 import access_pb2

# The numbers that lead to a method's rule: services of a file, methods of a service, options of a method.
_SERVICES = FileDescriptorProto.SERVICE_FIELD_NUMBER
_METHODS = 2
_OPTIONS = 4


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file.

    Attributes:
        file: The file, as its reader knows it.
        line: The line, from 1 on; None if it is not known, as in compiled contracts without source information.

    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        """Return the place as compilers write it."""
        return f"{self.file}:{self.line}" if self.line else self.file


def place_of_method(contracts: FileDescriptorSet, path: str) -> Place | None:
    """Return where a method is declared; None if the contracts don't declare it."""
    return _place(contracts, path, ())


def place_of_rule(contracts: FileDescriptorSet, path: str) -> Place | None:
    """Return where a method's rule stands; where the method does, if that is not known."""
    rule = (_OPTIONS, access_pb2.rule.number)
    return _place(contracts, path, rule) or _place(contracts, path, ())


def _place(contracts: FileDescriptorSet, path: str, inside: tuple[int, ...]) -> Place | None:
    wanted_service, _, wanted = path.removeprefix("/").partition("/")
    for file in contracts.file:
        for service_number, service in enumerate(file.service):
            if f"{file.package}.{service.name}".lstrip(".") != wanted_service:
                continue
            for method_number, method in enumerate(service.method):
                if method.name == wanted:
                    way = (_SERVICES, service_number, _METHODS, method_number, *inside)
                    return _located(file, way)
    return None


def _located(file: FileDescriptorProto, way: tuple[int, ...]) -> Place | None:
    """Return the place of an element; of what is inside a method, None if nothing says where it is."""
    for location in file.source_code_info.location:
        if tuple(location.path[: len(way)]) == way:  # of an option, parts of it may have a place each
            return Place(file.name, location.span[0] + 1)
    return Place(file.name) if not way[4:] else None
