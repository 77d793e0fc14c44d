from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_tools import protoc

from mesh.access.descriptors import own_contracts, read_methods
from mesh.serving.pruned_contracts import PrunedContracts
from sekisho.access.v1 import access_pb2

COMMON = """
syntax = "proto2";
package a.v1;
message Shared { optional string text = 1; extensions 100 to 200; }
message Outer {
  optional Secret secret = 1;
  message Inner { optional Kind kind = 1; message Unseen {} }
  message Hidden {}
  enum Kind { KIND = 0; }
  enum Unused { UNUSED = 0; }
}
message Secret {}
extend Shared { optional Secret extension_of_secrets = 100; }
"""
PUBLICLY = 'syntax = "proto3"; package a.v1; import public "common.proto"; message Unrelated {}'
OPTIONS = """
syntax = "proto3";
package a.v1;
import "google/protobuf/descriptor.proto";
extend google.protobuf.MethodOptions { string note = 50000; }
extend google.protobuf.FieldOptions { string field_note = 50000; }
"""
SERVICE = """
syntax = "proto3";
package a.v1;
import "google/protobuf/timestamp.proto";
import "options.proto";
import "publicly.proto";
import "sekisho/access/v1/access.proto";

service Pay {
  rpc Show(ShowRequest) returns (stream a.v1.Outer.Inner) {
    option (note) = "an inside joke";
    option idempotency_level = NO_SIDE_EFFECTS;
    option (sekisho.access.v1.rule) = { client_types: [CLIENT_TYPE_PARTNER] };
  }
  rpc Plain(PlainRequest) returns (PlainRequest);
  rpc Hide(HideRequest) returns (Secret);
}
service Other { rpc Do(HideRequest) returns (HideRequest); }
message ShowRequest {
  string id = 1 [(field_note) = "an inside joke", deprecated = true];
  map<string, Item> items = 2;
  ShowRequest again = 3;
  oneof one { google.protobuf.Timestamp time = 4; Shared shared = 5; }
}
message Item {}
message PlainRequest {}
message HideRequest { Secret secret = 1; }
"""


@pytest.fixture(scope="module")
def contracts(tmp_path_factory: pytest.TempPathFactory) -> PrunedContracts:
    folder = tmp_path_factory.mktemp("protos")
    sources = {"common": COMMON, "publicly": PUBLICLY, "options": OPTIONS, "service": SERVICE}
    for name, text in sources.items():
        (folder / f"{name}.proto").write_text(text)
    root = Path(__file__).parents[4] / "protos"
    well_known = Path(protoc.__file__).parent / "_proto"
    out = folder / "set.binpb"
    arguments = ["", f"-I{folder}", f"-I{root}", f"-I{well_known}", "--include_imports", "--include_source_info"]
    assert protoc.main([*arguments, f"--descriptor_set_out={out}", "service.proto"]) == 0
    return PrunedContracts(FileDescriptorSet.FromString(out.read_bytes()))


def names(contracts: FileDescriptorSet) -> set[str]:
    """Return the full names of all services, methods, messages, enums and extensions, but protobuf's own."""
    found = set[str]()

    def types(scope: str, messages: object, enums: object) -> None:
        found.update(f"{scope}{each.name}" for each in enums)  # type: ignore[attr-defined]
        for each in messages:  # type: ignore[attr-defined]
            found.add(f"{scope}{each.name}")
            types(f"{scope}{each.name}.", each.nested_type, each.enum_type)

    for file in contracts.file:
        if file.package == "google.protobuf":
            continue
        types("", file.message_type, file.enum_type)
        found.update(each.name for each in (*file.service, *file.extension))
        found.update(f"{each.name}.{method.name}" for each in file.service for method in each.method)
    return found


def test_what_a_method_needs_is_there_and_nothing_else(contracts: PrunedContracts) -> None:
    pruned = contracts.with_methods(["/a.v1.Pay/Show"])
    assert names(pruned) == {
        *("Pay", "Pay.Show", "ShowRequest", "ShowRequest.ItemsEntry", "Item", "Shared"),
        *("Outer", "Outer.Inner", "Outer.Kind", "Rule", "ClientType", "rule"),
    }
    content = pruned.SerializeToString()
    assert all(each not in content for each in (b"ecret", b"joke", b"note", b"idden", b"nrelated", b"publicly"))
    (outer,) = (each for file in pruned.file for each in file.message_type if each.name == "Outer")
    assert not outer.field
    assert not any(file.HasField("source_code_info") for file in pruned.file)


def test_what_is_left_is_whole(contracts: PrunedContracts) -> None:
    pool = DescriptorPool()
    for file in contracts.with_methods(["/a.v1.Pay/Show", "/a.v1.Other/Do"]).file:
        pool.AddSerializedFile(file.SerializeToString())
    show = pool.FindServiceByName("a.v1.Pay").methods_by_name["Show"]
    assert show.server_streaming
    assert [field.name for field in show.input_type.fields] == ["id", "items", "again", "time", "shared"]
    options = show.GetOptions()
    assert options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS
    assert options.Extensions[access_pb2.rule].client_types == [access_pb2.CLIENT_TYPE_PARTNER]
    assert show.input_type.fields_by_name["id"].GetOptions().deprecated


def test_a_method_without_a_rule_of_its_own_brings_nothing_of_rules(contracts: PrunedContracts) -> None:
    pruned = contracts.with_methods(["/a.v1.Pay/Plain"])
    assert names(pruned) == {"Pay", "Pay.Plain", "PlainRequest"}
    (file,) = pruned.file
    assert list(file.dependency) == []


def test_all_methods_of_all_services_are_as_they_were() -> None:
    own = own_contracts()
    methods = read_methods(own)
    assert read_methods(PrunedContracts(own).with_methods(methods)) == methods


def test_each_method_alone_is_a_contract_that_holds() -> None:
    own = own_contracts()
    contracts = PrunedContracts(own)
    for path, method in read_methods(own).items():
        pruned = contracts.with_methods([path])
        assert read_methods(pruned) == {path: method}
        pool = DescriptorPool()
        for file in pruned.file:
            pool.Add(FileDescriptorProto.FromString(file.SerializeToString()))  # type: ignore[no-untyped-call]
            pool.FindFileByName(file.name)
