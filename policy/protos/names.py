"""Names in contracts, as short as they can be where they stand."""

from collections.abc import Iterator

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet


class Names:
    """What types, services and packages there are.

    Args:
        contracts: Where.

    """

    def __init__(self, contracts: FileDescriptorSet) -> None:
        self._known = {name for file in contracts.file for name in _names(file)}

    def within(self, scope: str, package: str, full: str) -> str:
        """Return a name for where it stands.

        Protobuf looks for the first part of a name in the innermost scope first. Where another thing would be found
        so, the name gets a dot before it, which means that it is whole.

        Args:
            scope: The full name of what it stands in.
            package: The file's package.
            full: What is meant, without a dot before it.

        """
        inside = package and full.startswith(f"{package}.")
        short = full.removeprefix(f"{package}.") if inside else full
        first = short.partition(".")[0]
        meant = f"{package}.{first}" if inside else first
        while scope:
            found = f"{scope}.{first}"
            if found in self._known:
                return short if found == meant else f".{full}"
            scope = scope.rpartition(".")[0]
        return short if first == meant else f".{full}"


def _names(file: FileDescriptorProto) -> Iterator[str]:
    parts = file.package.split(".")
    yield from (".".join(parts[: count + 1]) for count in range(len(parts)))
    prefix = f"{file.package}." if file.package else ""
    for declared in (file.enum_type, file.service, file.extension):
        yield from (f"{prefix}{each.name}" for each in declared)
    for message in file.message_type:
        yield from _names_inside(message, prefix)


def _names_inside(message: DescriptorProto, prefix: str) -> Iterator[str]:
    yield (name := f"{prefix}{message.name}")
    for declared in (message.enum_type, message.extension):
        yield from (f"{name}.{each.name}" for each in declared)
    for nested in message.nested_type:
        yield from _names_inside(nested, f"{name}.")
