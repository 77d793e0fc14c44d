"""The HTTP face among peers that are slow, many, or speak something else."""

import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from authserver.config import AuthServerConfig
from authserver.server import running
from mesh.config import ConfigError
from mesh.security import pki
from mesh.storage.database import Database
from tests.migrated import migrated_sqlite
from tests.unit.authserver.face import GRANT, Face, basic, face_up, trust, with_face

SECONDS = 1.0
GOOD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


@pytest.fixture
def face(config: AuthServerConfig, database: Database, tmp_path: Path) -> Iterator[Face]:
    with face_up(config, database, tmp_path, request_seconds=SECONDS, max_connections=10) as face:
        yield face


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    return migrated_sqlite(tmp_path / "database.db", "authserver")  # nothing here is about databases


@contextmanager
def connection(face: Face, folder: Path) -> Iterator[ssl.SSLSocket]:
    port = int(face.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=20) as plain,
        trust(folder).wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        yield secure


def read_all(peer: socket.socket) -> bytes:
    """Read until the server closes; fail if nothing comes for as long as the socket waits."""
    received = b""
    try:
        while data := peer.recv(65536):
            received += data
    except (ConnectionError, ssl.SSLError):
        pass
    return received


@pytest.mark.parametrize("sent", [b"", b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\n", GOOD + b"GET /"])
def test_a_connection_without_a_whole_request_ends_in_time(face: Face, tmp_path: Path, sent: bytes) -> None:
    with connection(face, tmp_path) as peer:
        start = time.monotonic()
        peer.sendall(sent)
        read_all(peer)
        assert time.monotonic() - start > SECONDS * 0.9


def test_a_connection_without_a_tls_handshake_ends_in_time(face: Face) -> None:
    with socket.create_connection(("127.0.0.1", int(face.url.rpartition(":")[2])), timeout=20) as peer:
        start = time.monotonic()
        assert read_all(peer) == b""
        assert time.monotonic() - start > SECONDS * 0.9


def test_a_body_that_drips_is_not_waited_for(face: Face, tmp_path: Path) -> None:
    with connection(face, tmp_path) as peer:
        peer.sendall(
            b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\n\r\ngrant"
        )
        assert b"408" in peer.recv(65536).partition(b"\r\n")[0]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01 nonsense\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /oauth2/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"a" * 100_000,
        b"POST /oauth2/token HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 20_000,
        GOOD + b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000,
        b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx",
        b"POST /oauth2/token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFFFFF\r\n",
    ],
)
def test_what_is_no_http_is_refused_and_others_notice_nothing(face: Face, tmp_path: Path, sent: bytes) -> None:
    with connection(face, tmp_path) as peer:
        with suppress(OSError):  # the server closes as soon as it has seen enough
            peer.sendall(sent)
        answers = re.findall(rb"HTTP/1.1 (\d)", read_all(peer))
        assert set(answers) <= ({b"2", b"4"} if sent.startswith(GOOD) else {b"4"})
    assert face.token(face.shops)


def test_a_head_that_is_too_large_is_refused_also_when_it_comes_whole(face: Face, tmp_path: Path) -> None:
    with connection(face, tmp_path) as peer:
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        peer.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 20_000 + b"\r\n\r\n")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
        assert read_all(peer).startswith(b"HTTP/1.1 400")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1")
def test_plain_text_and_old_tls_are_not_spoken(face: Face, tmp_path: Path) -> None:
    port = int(face.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"HTTP" not in read_all(plain)
    old = trust(tmp_path)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain, server_hostname="localhost")
    assert face.token(face.shops)


def test_idle_connections_are_bounded_and_their_room_comes_back(face: Face, tmp_path: Path) -> None:
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(connection(face, tmp_path))
        refused = httpx.post(f"{face.url}/oauth2/token", data=GRANT, verify=trust(tmp_path), trust_env=False)
        assert refused.status_code == 503
    deadline = time.monotonic() + 20
    while face.http.post("/oauth2/token", data=GRANT, auth=basic(face.shops)).status_code != 200:
        assert time.monotonic() < deadline


def shown(face: Face, folder: Path) -> str:
    """Return the certificate that a new connection is shown."""
    with connection(face, folder) as peer:
        return ssl.DER_cert_to_PEM_cert(peer.getpeercert(binary_form=True) or b"")


def issue(folder: Path) -> str:
    pki.issue_public(pki.create_authority(folder, "public"), folder, "face")
    return (folder / "face.pem").read_text()


def test_a_renewed_certificate_is_shown_to_new_connections_without_a_restart(face: Face, tmp_path: Path) -> None:
    old = (tmp_path / "face.pem").read_text()
    with connection(face, tmp_path) as peer:
        assert shown(face, tmp_path) == old != issue(tmp_path)
        assert shown(face, tmp_path) == (tmp_path / "face.pem").read_text()
        peer.sendall(GOOD)
        assert peer.recv(65536).startswith(b"HTTP/1.1 200")  # who was connected before is so still


@pytest.mark.parametrize("spoilt", ["face.pem", "face-key.pem"])
def test_a_certificate_that_is_not_good_leaves_the_old_one(face: Face, tmp_path: Path, spoilt: str) -> None:
    old, other = (tmp_path / "face.pem").read_text(), tmp_path / "other"
    other.mkdir()
    issue(other)
    (tmp_path / spoilt).write_bytes((other / spoilt).read_bytes())  # good by itself, but the two do not fit
    with capture_logs() as lines:
        for _ in range(3):
            assert shown(face, tmp_path) == old
    assert [line["log_level"] for line in lines if "not good" in line["event"]] == ["error"]  # said once
    assert shown(face, tmp_path) == old != issue(tmp_path)
    assert shown(face, tmp_path) == (tmp_path / "face.pem").read_text()


async def test_a_face_that_can_not_listen_or_has_no_certificate_says_so(
    config: AuthServerConfig, tmp_path: Path
) -> None:
    config = with_face(config, tmp_path)
    assert config.http
    with socket.create_server(("127.0.0.1", 0)) as taken:
        for http, words in (
            (replace(config.http, listen=f"127.0.0.1:{taken.getsockname()[1]}"), "can't listen"),
            (replace(config.http, listen="nonsense"), "can't listen"),
            (replace(config.http, certificate=tmp_path / "nothing.pem"), "nothing.pem"),
            (replace(config.http, private_key=config.server.private_key), "can't be used"),
        ):
            with pytest.raises(ConfigError, match=words):
                async with running(replace(config, http=http)):
                    pass
