from pathlib import Path

import grpc_tools
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from mesh.access.descriptors import own_contracts
from policy.protos.comments import Comment, comments_of
from policy.protos.source import Printer

STANDARD = Path(grpc_tools.__file__).parent / "_proto"
OTHER = 'syntax = "proto3"; package other; message Money { int64 units = 1; enum Unit { UNIT = 0; } }'

PROTO3 = """
// The licence.

// Before the syntax.
syntax = "proto3";

package a.v1;

import public "other.proto";
import "google/protobuf/any.proto";
import "google/protobuf/descriptor.proto";

option java_package = "a \\"quoted\\" é";
option optimize_for = CODE_SIZE;

extend google.protobuf.MethodOptions { Note note = 50001; }
extend google.protobuf.FieldOptions { repeated string tags = 50002; float weight = 50003; }
extend google.protobuf.FileOptions { bytes seal = 50004; }
option (seal) = "\\000\\377x";
extend google.protobuf.EnumValueOptions { bool hidden = 50005; }

message Note { string text = 1; map<string, int32> counts = 2; Kind kind = 3; }
enum Kind {
  option allow_alias = true;
  KIND = 0; SAME = 0; LOW = -5 [(hidden) = true];
  reserved 7, 9 to 11, 40 to max;
  reserved "OLD";
}

// A service.
service Pay {
  option deprecated = true;
  // Shows.
  rpc Show(Request) returns (stream other.Money) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (note) = { text: "inner \\"x\\"", counts { key: "a" value: 2 }, kind: LOW };
  }
  rpc Take(stream Request) returns (google.protobuf.Any);  // Behind it.
}

message Request {
  reserved 100, 200 to 300, 1000 to max;
  reserved "gone", "lost";
  // Detached.

  // The id.
  string id = 1 [(tags) = "a", (tags) = "b", (weight) = -inf, deprecated = true, json_name = "ID"];
  optional int32 maybe = 2;
  repeated double many = 3 [packed = false];
  map<string, other.Money> money = 4;
  message Inner { message other { int32 x = 1; } other plain = 1; .other.Money money = 2; .other.Money.Unit unit = 3; }
  oneof choice {
    // One.
    bytes one = 5;
    Inner two = 6;
    Kind three = 11;
  }
  map<int64, Inner> more = 7;
  enum Nested { NONE = 0; }
  Nested nested = 8;
  sfixed64 fixed_number = 9;
  Request again = 10;
}
"""

PROTO2 = """
syntax = "proto2";
import "other.proto";
message Old {
  required string name = 1 [default = "a\\tb\\"c"];
  optional bytes raw = 2 [default = "\\001\\"\\377"];
  optional double ratio = 3 [default = inf];
  optional Colour colour = 4 [default = RED];
  optional bool yes = 5 [default = true];
  optional int64 low = 6 [default = -9223372036854775808];
  message Before {}
  repeated group Item = 7 { optional string text = 1; optional group Deep = 2 { optional int32 x = 1; } }
  message After {}
  oneof one { group Chosen = 8 { optional int32 y = 1; } string plain = 9; }
  extensions 100 to 199, 300;
  extensions 1000 to max [declaration = { number: 1000, full_name: ".late", type: "string" }];
  extend Old { optional Before inside = 101; }
}
message Wire { option message_set_wire_format = true; extensions 4 to max; }
enum Colour { GREEN = 1; RED = 2; }
extend Old {
  optional group Grouped = 104 { optional int32 x = 1; }
  optional string outside = 102 [default = "x"]; repeated other.Money all = 103; }
"""

EDITION = """
edition = "2023";
package e;
option features.field_presence = IMPLICIT;
message New {
  reserved gone, lost;
  string plain = 1;
  string present = 2 [features.field_presence = EXPLICIT];
  New part = 3 [features.message_encoding = DELIMITED];
}
enum Closed { option features.enum_type = CLOSED; ONE = 1; reserved OLD; }
"""


def compiled(folder: Path, *names: str) -> FileDescriptorSet:
    out = folder / "out.binpb"
    arguments = [f"-I{folder}", f"-I{STANDARD}", "--include_imports", "--include_source_info"]
    assert protoc.main(["protoc", *arguments, f"--descriptor_set_out={out}", *names]) == 0
    return FileDescriptorSet.FromString(out.read_bytes())


def printed(contracts: FileDescriptorSet, folder: Path) -> list[str]:
    """Print all but protobuf's own files; return their names."""
    comments: dict[str, Comment] = {}
    for file in contracts.file:
        comments |= comments_of(file)
    printer = Printer(contracts, comments)
    names = [file.name for file in contracts.file if not file.name.startswith("google/protobuf/")]
    for file in contracts.file:
        if file.name in names:
            (folder / file.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / file.name).write_text(printer.source(file))
    return names


def without_source(contracts: FileDescriptorSet, names: list[str]) -> dict[str, FileDescriptorSet]:
    files = {file.name: file for file in contracts.file if file.name in names}
    for file in files.values():
        file.ClearField("source_code_info")
    return files


def assert_same_after_a_round_trip(contracts: FileDescriptorSet, folder: Path) -> None:
    names = printed(contracts, folder)
    again = compiled(folder, *names)
    said = [comments_of(file) for file in contracts.file if file.name in names]
    assert {name: found for each in said for name, found in each.items()} == {
        name: found for file in again.file if file.name in names for name, found in comments_of(file).items()
    }
    assert without_source(again, names) == without_source(contracts, names)


def test_sekishos_own_contracts_compile_to_the_same_with_their_comments_after_being_printed(tmp_path: Path) -> None:
    assert_same_after_a_round_trip(own_contracts(), tmp_path)


@pytest.mark.parametrize("text", [PROTO3, PROTO2, EDITION], ids=["proto3", "proto2", "edition"])
def test_any_contract_compiles_to_the_same_after_being_printed(tmp_path: Path, text: str) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    for folder in (before, after):
        folder.mkdir()
    (before / "a.proto").write_text(text)
    (before / "other.proto").write_text(OTHER)
    assert_same_after_a_round_trip(compiled(before, "a.proto"), after)
