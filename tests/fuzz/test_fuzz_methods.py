"""Every method that can be reached, with every kind of nonsense: it answers in time, says why not, and goes on."""

import re
import time
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import given
from hypothesis import strategies as st

from cli.home import SERVICES
from mesh.access.descriptors import own_contracts, read_methods, service_of
from mesh.access.rules import ClientType
from mesh.errors import Code
from tests.fuzz.effort import cases
from tests.fuzz.messages import requests
from tests.fuzz.mutations import mutated
from tests.fuzz.target import Target, prepare, sizes
from tests.mesh import TIMEOUT_SECONDS, Mesh, error_info

METHODS = read_methods(own_contracts())
STANDARD = ("/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
# What may be said to a stranger: each refusal but that something broke.
REFUSALS = {code.name for code in Code} - {"INTERNAL", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
MAX_BYTES = 4 * 1024 * 1024
MAX_GROWTH = 200 * 1024 * 1024
SECRET = re.compile(rb"(sat|scs|pmc|sot|sor)_[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{16,}\.")


def _services() -> dict[str, ServiceDescriptor]:
    pool, names = DescriptorPool(), list[str]()
    standard = FileDescriptorProto.FromString(health_pb2.DESCRIPTOR.serialized_pb)
    reflection = FileDescriptorProto.FromString(reflection_pb2.DESCRIPTOR.serialized_pb)
    for file in (*own_contracts().file, standard, reflection):
        pool.Add(file)
        names += [f"{file.package}.{service.name}" for service in file.service]
    return {name: pool.FindServiceByName(name) for name in names}


KINDS = {
    path: _services()[service_of(path)].methods_by_name[path.rpartition("/")[2]].input_type
    for path in (*METHODS, *STANDARD)
}


@pytest.fixture(scope="module")
def target(mesh: Mesh) -> Target:
    return prepare(mesh)


def answer(target: Target, path: str, request: bytes, metadata: list[tuple[str, str]]) -> tuple[str, str]:
    """Call a method; return the status, and the reason if it is a refusal."""
    channel = target.mesh.shops if path.startswith("/sekisho.shops.") else target.mesh.gateway
    call = channel.unary_stream(path)(request, metadata=metadata, timeout=TIMEOUT_SECONDS)  # of all kinds, on the wire
    try:
        next(call, None)
    except grpc.RpcError as error:
        return error.code().name, error_info(error).reason
    finally:
        call.cancel()
    return "OK", ""


def check(path: str, request: bytes, answered: tuple[str, str]) -> None:
    """Hold an answer against what may be said; gRPC's own refusals, of what is too large, carry no reason."""
    status, reason = answered
    assert status in {"OK", *REFUSALS}
    if path in METHODS and len(request) < MAX_BYTES:
        assert bool(reason) == (status != "OK")


def tokens(target: Target, path: str) -> st.SearchStrategy[list[str]]:
    """Mostly a token that the method takes."""
    method = METHODS.get(path)
    admitted = method.rule.client_types if method and method.rule else ()
    good = st.sampled_from([target.tokens[each] for each in admitted or (None,)]).map(lambda token: [token])
    any_token = st.sampled_from(list(target.tokens.values()))
    spoiled = any_token.flatmap(mutated).filter(lambda token: token.isascii() and token.isprintable())
    return st.one_of(good, good, good, st.lists(any_token | spoiled, max_size=2))


@pytest.mark.parametrize("path", KINDS)
@given(data=st.data())
@cases(4, seconds=TIMEOUT_SECONDS)
def test_a_method_answers_any_request_and_breaks_at_none(target: Target, path: str, data: Any) -> None:
    request = data.draw(requests(KINDS[path], target.genuine))
    metadata = [("authorization", f"Bearer {token}") for token in data.draw(tokens(target, path))]
    start = time.monotonic()
    check(path, request, answer(target, path, request, metadata))
    assert time.monotonic() - start < TIMEOUT_SECONDS / 2


@pytest.mark.parametrize("path", KINDS)
@given(request=st.binary(max_size=200), token=st.sampled_from([None, *ClientType]))
@cases(1, seconds=TIMEOUT_SECONDS)
def test_a_method_answers_any_bytes_and_breaks_at_none(
    target: Target, path: str, request: bytes, token: ClientType | None
) -> None:
    metadata = [("authorization", f"Bearer {target.tokens[token]}")]
    check(path, request, answer(target, path, request, metadata))


# Last: what all the calls above have left behind.


def test_no_process_ended_or_grew_beyond_measure(target: Target) -> None:
    now = sizes(target.mesh)
    assert now.keys() == target.sizes.keys()
    assert {pid: size for pid, size in now.items() if size > target.sizes[pid] + MAX_GROWTH} == {}


@pytest.mark.parametrize("service", SERVICES)
def test_no_log_shows_a_secret_or_something_broken(target: Target, service: str) -> None:
    lines = target.mesh.home.log(service).read_bytes()[target.logged[service] :]
    assert lines
    assert not SECRET.search(lines)
    assert not [secret for secret in target.secrets if secret.encode() in lines]
    assert b'"level":"error"' not in lines
    assert b"Traceback" not in lines
