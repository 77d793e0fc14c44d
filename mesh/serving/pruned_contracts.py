"""Contracts cut down to some of their methods: what these need is there, and of all else not even the name."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

from sekisho.access.v1 import access_pb2

# Everybody has its files; they are left whole.
_EVERYBODYS = "google.protobuf"


class PrunedContracts:
    """Cuts contracts down.

    Args:
        contracts: What they declare, imports included and before what imports them.

    """

    def __init__(self, contracts: FileDescriptorSet) -> None:
        self._pool = DescriptorPool()
        for file in contracts.file:
            self._pool.AddSerializedFile(file.SerializeToString())

    def with_methods(self, paths: Iterable[str]) -> FileDescriptorSet:
        """Return what some methods need: their services without the others, and the messages and enums that they reach.

        Of options there are protobuf's own, and the access rules of these methods. There are no other extensions.

        Args:
            paths: The methods, `/package.Service/Method`.

        """
        return _Cut(self._pool, paths).files()


class _Cut:
    def __init__(self, pool: DescriptorPool, paths: Iterable[str]) -> None:
        self._files = dict[str, FileDescriptor]()
        self._imports = defaultdict[str, set[str]](set)  # of each file
        self._methods = defaultdict[str, set[str]](set)  # of each service
        self._names = set[str]()  # of messages and enums
        self._open = list[Descriptor]()
        self._option = ""  # the rule's full name, if a method has one
        rule = _rule_in(pool)
        for path in paths:
            service, _, name = path[1:].partition("/")
            self._methods[service].add(name)
            method = pool.FindServiceByName(service).methods_by_name[name]
            self._need(method.input_type, method.containing_service.file)
            self._need(method.output_type, method.containing_service.file)
            if rule and method.GetOptions().HasExtension(access_pb2.rule):
                self._option = rule.full_name
                self._need_file(rule.file, method.containing_service.file)
                self._need(rule.containing_type, rule.file)
                self._need(rule.message_type, rule.file)
        while self._open:
            message = self._open.pop()
            for field in message.fields:
                if target := field.message_type or field.enum_type:
                    self._need(target, message.file)
        self._around = {name[:end] for name in self._names for end in range(len(name)) if name[end] == "."}

    def files(self) -> FileDescriptorSet:
        """Return the files, each after those that it imports."""
        done = dict[str, FileDescriptorProto]()

        def add(name: str) -> None:
            if name not in done:
                for imported in sorted(self._imports[name]):
                    add(imported)
                done[name] = self._cut(self._files[name])

        for name in sorted(self._files):
            add(name)
        return FileDescriptorSet(file=done.values())

    def _need(self, target: Descriptor | EnumDescriptor, by: FileDescriptor) -> None:
        self._need_file(target.file, by)
        if target.full_name in self._names:
            return
        self._names.add(target.full_name)
        if isinstance(target, Descriptor):
            self._open.append(target)

    def _need_file(self, file: FileDescriptor, by: FileDescriptor) -> None:
        self._files[file.name], self._files[by.name] = file, by
        if file.name != by.name:
            self._imports[by.name].add(file.name)
        if file.package == _EVERYBODYS:
            for imported in file.dependencies:
                self._need_file(imported, file)

    def _cut(self, whole: FileDescriptor) -> FileDescriptorProto:
        file = FileDescriptorProto()
        whole.CopyToProto(file)
        if whole.package == _EVERYBODYS:
            return file
        for field in ("dependency", "public_dependency", "weak_dependency", "source_code_info"):
            file.ClearField(field)
        file.dependency.extend(sorted(self._imports[file.name]))
        package = f"{file.package}." if file.package else ""
        self._cut_types(file, package)
        _keep(file.service, lambda service: f"{package}{service.name}" in self._methods)
        for service in file.service:
            methods = self._methods[f"{package}{service.name}"]
            _keep(service.method, lambda method: method.name in methods)  # noqa: B023 - used at once
        _keep(file.extension, lambda extension: f"{package}{extension.name}" == self._option)
        _drop_options(file, self._option)
        return file

    def _cut_types(self, scope: FileDescriptorProto | DescriptorProto, prefix: str) -> None:
        """Cut what is declared in a file or a message; a message that only others are in keeps nothing of its own."""
        nested = scope.nested_type if isinstance(scope, DescriptorProto) else scope.message_type
        _keep(scope.enum_type, lambda enum: f"{prefix}{enum.name}" in self._names)
        _keep(nested, lambda message: f"{prefix}{message.name}" in self._names | self._around)
        for message in nested:
            name = f"{prefix}{message.name}"
            message.ClearField("extension")
            self._cut_types(message, f"{name}.")
            if name not in self._names:
                kept = DescriptorProto(name=message.name, nested_type=message.nested_type, enum_type=message.enum_type)
                message.CopyFrom(kept)


def _rule_in(pool: DescriptorPool) -> Any:  # noqa: ANN401 - what the types say of FieldDescriptor lacks its file
    try:
        return pool.FindExtensionByName(access_pb2.rule.full_name)
    except KeyError:
        return None


def _keep(elements: Any, wanted: Callable[[Any], bool]) -> None:  # noqa: ANN401 - a repeated field, of whatever
    kept = [each for each in elements if wanted(each)]
    del elements[:]
    elements.extend(kept)


def _drop_options(file: FileDescriptorProto, kept: str) -> None:
    """Take all options of somebody's own out of a file, but for one, by its full name."""
    for message in _within(file):
        for option in [field for field, _ in message.ListFields() if field.is_extension and field.full_name != kept]:
            message.ClearExtension(option)  # type: ignore[arg-type]
    file.DiscardUnknownFields()


def _within(message: Message) -> Iterator[Message]:
    """Yield a message and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type:
            for each in value if field.is_repeated else [value]:
                yield from _within(each)
