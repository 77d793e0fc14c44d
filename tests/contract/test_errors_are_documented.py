"""docs/errors.md and the contract name every reason that the code can answer with, with its status, and no other."""

import importlib
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from mesh.access.descriptors import own_contracts
from mesh.errors import ServiceError
from sekisho.errors.v1 import error_reason_pb2

SERVICES = ("gateway", "authserver", "payments", "shops")
PACKAGES = ("mesh", "policy", *SERVICES)
CONTRACT = "sekisho/errors/v1/error_reason.proto"


def errors(parent: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    for child in parent.__subclasses__():
        yield child
        yield from errors(child)


@pytest.fixture(scope="module")
def in_code() -> set[tuple[str, str]]:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__") and ".migrations." not in module.name:
                importlib.import_module(module.name)
    return {(error.reason, error.code.name) for error in errors() if error.__module__.split(".")[0] in PACKAGES}


def comments(file: FileDescriptorProto) -> Mapping[int, str]:
    """Return the comments on the values of a file's first enum, by their place."""
    first_enum = (FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER, 0)
    return {
        location.path[3]: location.leading_comments
        for location in file.source_code_info.location
        if tuple(location.path[:2]) == first_enum and len(location.path) == 4
    }


def test_every_reason_is_documented_with_its_status(in_code: set[tuple[str, str]]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    in_docs = set(re.findall(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \|", text, re.MULTILINE))
    assert in_code == in_docs


def test_every_reason_is_a_value_of_the_contract_whose_comment_begins_with_its_status(
    in_code: set[tuple[str, str]],
) -> None:
    (file,) = (file for file in own_contracts().file if file.name == CONTRACT)
    names = [value.name for value in file.enum_type[0].value]
    assert names == list(error_reason_pb2.ErrorReason.keys())
    assert names[0] == "ERROR_REASON_UNSPECIFIED"
    statuses = {place: comment.strip().partition(":")[0] for place, comment in comments(file).items()}
    assert {(name, statuses[place]) for place, name in enumerate(names) if place} == in_code


def test_no_service_needs_the_contract_of_reasons_to_run() -> None:
    servers = [f"{name}.server" for name in SERVICES]
    code = f"import sys, {', '.join(servers)}; sys.exit('sekisho.errors.v1.error_reason_pb2' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
