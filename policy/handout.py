"""What outsiders need of the contracts to call what they may, and no more."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from mesh.access.rules import ClientType
from mesh.config import ConfigError
from mesh.serving.pruned_contracts import PrunedContracts
from policy.changes import terms
from policy.policy import Policy
from policy.protos.comments import Comments, comments_of
from policy.protos.source import Printer

# Every compiler of contracts brings these along.
STANDARD = "google/protobuf/"


@dataclass(frozen=True, slots=True)
class Handout:
    """What is handed out.

    Attributes:
        contracts: The contracts, cut down, without source information.
        sources: Their text with its comments, by file name; protobuf's own files are not among them.
        methods: The paths of the methods.

    """

    contracts: FileDescriptorSet
    sources: Mapping[str, str]
    methods: Sequence[str]


def callable_methods(policy: Policy, doors: Sequence[str], client_types: Sequence[ClientType]) -> list[str]:
    """Return the methods that some of the client types may call by some of the doors, with scopes if need be."""
    kinds = [None, *client_types]
    return [path for path in policy.routes if any(terms(policy, door, path, who) for door in doors for who in kinds)]


def hand_out(policy: Policy, methods: Sequence[str]) -> Handout:
    """Return what is needed to call methods.

    Raises:
        ConfigError: If there are none, or they are declared by contracts that differ in a file.

    """
    if not methods:
        raise ConfigError("there is no method that these clients may call there")
    files, comments = dict[str, FileDescriptorProto](), dict[str, Comments]()
    for contracts, paths in _by_contracts(policy, methods):
        for file in PrunedContracts(contracts).with_methods(paths).file:
            if files.setdefault(file.name, file) != file:
                raise ConfigError(f"two contracts have different files of the name {file.name}")
        comments |= {file.name: comments_of(file) for file in contracts.file if file.name in files}
    whole = FileDescriptorSet(file=files.values())
    said = {name: comment for each in comments.values() for name, comment in each.items()}
    printer = Printer(whole, said)
    sources = {name: printer.source(file) for name, file in files.items() if not name.startswith(STANDARD)}
    return Handout(whole, sources, methods)


def _by_contracts(policy: Policy, methods: Sequence[str]) -> list[tuple[FileDescriptorSet, list[str]]]:
    """Return the methods by what declares them."""
    found: dict[int, tuple[FileDescriptorSet, list[str]]] = {}
    for path in methods:
        contracts = policy.contracts.declared[policy.routes[path].method.service]
        found.setdefault(id(contracts), (contracts, []))[1].append(path)
    return list(found.values())
