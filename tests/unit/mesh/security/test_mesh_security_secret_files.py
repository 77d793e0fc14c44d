import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from mesh.config import ConfigError
from mesh.security.secret_files import create_key, read_key, read_private, write_private


@pytest.fixture(params=[0o000, 0o022])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_can_read_what_is_written(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    write_private(file, b"x")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_private(file) == b"x"


def test_writing_replaces_the_file_and_leaves_no_draft(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"old")
    file.chmod(0o644)
    (tmp_path / "secret.draft").write_bytes(b"left by a crash")
    write_private(file, b"new")
    assert read_private(file) == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_planted_in_the_drafts_place_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"untouched")
    (tmp_path / "secret.draft").symlink_to(victim)
    write_private(tmp_path / "secret", b"x")
    assert victim.read_bytes() == b"untouched"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o777])
def test_a_secret_that_others_can_reach_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    write_private(file, b"the secret itself")
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {file}") as caught:
        read_private(file)
    assert "the secret itself" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o700])
def test_a_secret_that_only_its_owner_can_reach_is_read(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "secret"
    write_private(file, b"x")
    file.chmod(mode)
    assert read_private(file) == b"x"


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=str(path)):
            read_private(path)


def test_a_link_to_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(bytes(32))
    target.chmod(0o644)
    link.symlink_to(target)
    with pytest.raises(ConfigError):
        read_key(link)


def test_a_key_is_made_once_and_has_256_bits(tmp_path: Path) -> None:
    file = tmp_path / "key"
    create_key(file)
    key = read_key(file)
    create_key(file)
    assert read_key(file) == key
    assert len(key) == 32
    create_key(tmp_path / "other")
    assert read_key(tmp_path / "other") != key


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_key_of_another_length_is_refused(tmp_path: Path, length: int) -> None:
    file = tmp_path / "key"
    write_private(file, bytes(length))
    with pytest.raises(ConfigError, match=f"this file {length}"):
        read_key(file)
