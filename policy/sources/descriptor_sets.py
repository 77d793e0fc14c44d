"""Descriptor sets: compiled contracts of services that Sekisho does not know, read from files."""

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from mesh.config import ConfigError
from sekisho.access.v1 import access_pb2


def read_descriptor_set(path: Path) -> FileDescriptorSet:
    """Return the contracts in a file that `buf build -o` or `protoc --include_imports --descriptor_set_out` wrote.

    Raises:
        ConfigError: If the file can't be read, is no descriptor set, is not whole, or gives the access rule's option
            another meaning.

    """
    try:
        contracts = FileDescriptorSet.FromString(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except DecodeError as error:
        raise ConfigError(f"{path}: this is no descriptor set, or a damaged one: {error}") from error
    if not any(file.service for file in contracts.file):
        raise ConfigError(f"{path}: declares no service")
    pool, names = DescriptorPool(), set[str]()
    for file in contracts.file:
        try:
            _check_imports(file, names)
            pool.AddSerializedFile(file.SerializeToString())  # finds what is named and not there, and what is twice
        except (ValueError, TypeError) as error:
            raise ConfigError(f"{path}: {file.name}: {error}") from error
        names.add(file.name)
    _check_option(path, pool)
    return contracts


def _check_imports(file: FileDescriptorProto, before: set[str]) -> None:
    for name in file.dependency:
        if name not in before:
            raise ValueError(f"imports {name}, which the set lacks; let protoc make it with --include_imports")


def _check_option(path: Path, pool: DescriptorPool) -> None:
    """Refuse an option of the company's own under the number of the rule: its values would be taken for rules."""
    own = access_pb2.rule
    try:
        option = pool.FindExtensionByNumber(pool.FindMessageTypeByName("google.protobuf.MethodOptions"), own.number)
    except KeyError:
        return
    if option.full_name != own.full_name:
        raise ConfigError(f"{path}: the option {option.full_name} has the number of {own.full_name}, {own.number}")
