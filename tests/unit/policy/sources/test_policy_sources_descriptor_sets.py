import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from hypothesis import given
from hypothesis import strategies as st

from mesh.access.descriptors import PolicyError, read_methods
from mesh.access.rules import ClientType, MethodRule
from mesh.config import ConfigError
from policy.sources.descriptor_sets import read_descriptor_set

PROTOS = Path(__file__).parents[4] / "protos"
BIN = Path(sys.executable).parent
GREETER = """
syntax = "proto3";
package greeter.v1;
import "google/protobuf/empty.proto";
import "sekisho/access/v1/access.proto";
service Greeter {
  rpc Greet(google.protobuf.Empty) returns (stream google.protobuf.Empty) {
    option (sekisho.access.v1.rule) = { client_types: [CLIENT_TYPE_PARTNER] };
  }
  rpc Plain(google.protobuf.Empty) returns (google.protobuf.Empty);
}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "greeter.binpb"


def written(file: Path, *protos: FileDescriptorProto) -> Path:
    file.write_bytes(FileDescriptorSet(file=protos).SerializeToString())
    return file


def proto(name: str, *services: str, imports: tuple[str, ...] = ()) -> FileDescriptorProto:
    declared = FileDescriptorProto(name=name, package="a.v1", dependency=imports)
    for service in services:
        declared.service.add(name=service)
    return declared


def refusal(file: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        read_descriptor_set(file)
    assert str(refused.value).startswith(f"{file}: ")
    return str(refused.value)


@pytest.mark.parametrize(
    "compiler",
    [
        ["buf", "build", "{folder}", "-o", "{file}"],
        [
            "python",
            "-m",
            "grpc_tools.protoc",
            "-I{folder}",
            "--include_imports",
            "--descriptor_set_out={file}",
            "g.proto",
        ],
    ],
)
def test_what_buf_and_protoc_make_is_read_with_its_rules(tmp_path: Path, file: Path, compiler: list[str]) -> None:
    source = tmp_path / "source"
    (source / "sekisho" / "access" / "v1").mkdir(parents=True)
    (source / "g.proto").write_text(GREETER)
    access = PROTOS / "sekisho" / "access" / "v1" / "access.proto"
    (source / "sekisho" / "access" / "v1" / "access.proto").write_text(access.read_text())
    command = [part.format(folder=source, file=file) for part in compiler]
    subprocess.run([BIN / command[0], *command[1:]], check=True, cwd=tmp_path)
    methods = read_methods(read_descriptor_set(file))
    greet, plain = methods["/greeter.v1.Greeter/Greet"], methods["/greeter.v1.Greeter/Plain"]
    assert (greet.rule, greet.server_streaming) == (MethodRule(frozenset({ClientType.PARTNER})), True)
    assert (plain.rule, plain.server_streaming) == (None, False)


def test_a_set_without_its_imports_is_refused_with_the_one_that_it_lacks(file: Path) -> None:
    written(file, proto("one.proto", "One", imports=("two.proto",)))
    assert "one.proto: imports two.proto, which the set lacks; let protoc make it with --include_imports" in refusal(
        file
    )


def test_a_type_that_nothing_declares_is_refused(file: Path) -> None:
    declared = proto("one.proto", "One")
    declared.service[0].method.add(name="Do", input_type=".a.v1.Gone", output_type=".a.v1.Gone")
    assert "one.proto: " in refusal(written(file, declared))
    assert "a.v1.Gone" in refusal(file)


def test_two_meanings_of_one_name_are_refused(file: Path) -> None:
    assert "two.proto: " in refusal(written(file, proto("one.proto", "One"), proto("two.proto", "One")))
    assert "one.proto: " in refusal(written(file, proto("one.proto", "One"), proto("one.proto", "Two")))


@pytest.mark.parametrize("content", [b"", b'syntax = "proto3";\n', b"{}", b"\x0a\x7fgreeter", bytes(100)])
def test_what_is_no_descriptor_set_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    refusal(file)


def test_a_set_without_a_service_is_refused(file: Path) -> None:
    assert "declares no service" in refusal(written(file, proto("one.proto")))


def test_a_missing_file_and_a_folder_are_refused(file: Path) -> None:
    assert "No such file" in refusal(file)
    file.mkdir()
    assert "directory" in refusal(file)


@pytest.mark.parametrize("within", ["", "Nested"])
def test_an_option_of_the_companys_own_is_not_taken_for_a_rule(file: Path, within: str) -> None:
    options = FileDescriptorProto()
    FileDescriptorProto.DESCRIPTOR.file.CopyToProto(options)
    company = proto("company.proto", "One", imports=("google/protobuf/descriptor.proto",))
    scope = company.message_type.add(name=within) if within else company
    scope.extension.add(name="audited", number=51187, type=8, label=1, extendee=".google.protobuf.MethodOptions")
    said = refusal(written(file, options, company))
    name = ".".join(filter(None, ("a.v1", within, "audited")))
    assert f"the option {name} has the number of sekisho.access.v1.rule, 51187" in said
    scope.extension[0].number = 51188
    read_descriptor_set(written(file, options, company))


@given(st.lists(st.tuples(st.integers(0, 2_000), st.binary(max_size=3)), min_size=1, max_size=4))
def test_a_damaged_set_is_read_or_refused_but_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, bytes]]
) -> None:
    content = bytearray((PROTOS.parent / "gen" / "sekisho" / "contracts.binpb").read_bytes())
    for offset, replacement in damage:
        content[offset : offset + len(replacement)] = replacement
    file = tmp_path_factory.getbasetemp() / "damaged.binpb"
    file.write_bytes(content)
    try:
        read_methods(read_descriptor_set(file))
    except (ConfigError, PolicyError):
        return
