from pathlib import Path

import pytest

from mesh.config import ChannelConfig, Config, ConfigError, ServerConfig, load


class Settings(Config, frozen=True):
    """All kinds of fields."""

    file: Path
    servers: tuple[ServerConfig, ...] = ()
    count: int = 5
    seconds: float = 1.0
    names: frozenset[str] = frozenset()
    optional: Path | None = None


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    folder = tmp_path / "etc"
    folder.mkdir()
    return folder / "service.yaml"


def test_fields_are_read_and_others_have_their_defaults(config_file: Path) -> None:
    config_file.write_text("file: a.pem\nnames: [b, a, b]\nseconds: 2\n")
    settings = load(config_file, Settings)
    assert (settings.count, settings.seconds, settings.names, settings.optional) == (5, 2.0, {"a", "b"}, None)


def test_paths_are_relative_to_the_file_that_names_them(config_file: Path) -> None:
    config_file.write_text("file: ../keys/a.pem\noptional: sub/b.pem\n")
    settings = load(config_file, Settings)
    assert settings.file == config_file.parent / "../keys/a.pem"
    assert settings.optional == config_file.parent / "sub/b.pem"


def test_absolute_paths_stay(config_file: Path) -> None:
    config_file.write_text("file: /etc/a.pem\n")
    assert load(config_file, Settings).file == Path("/etc/a.pem")


def test_paths_in_nested_parts_are_relative_too(config_file: Path) -> None:
    config_file.write_text("file: a\nservers: [{listen: 'x:0', certificate: c.pem, private_key: k.pem}]\n")
    assert load(config_file, Settings).servers[0].private_key == config_file.parent / "k.pem"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("file: a\nfiel: b\n", "fiel"),
        ("file: a\nservers: [{listen: 'x:0', certificate: c, private_key: k, listne: y}]\n", "servers[0]"),
        ("file: a\ncount: '5'\n", "$.count"),
        ("file: a\ncount: true\n", "$.count"),
        ("file: a\ncount: 1.5\n", "$.count"),
        ("file: a\ncount: null\n", "$.count"),
        ("file: a\nseconds: soon\n", "$.seconds"),
        ("file: a\nnames: a\n", "$.names"),
        ("file: 5\n", "$.file"),
        ("file: [a]\n", "$.file"),
        ("file: 2020-01-01\n", "$.file"),
        ("count: 5\n", "file"),
        ("{1: 2}\n", "key"),
        ("", "object"),
        ("- file\n", "object"),
        ("file: [\n", "line"),
        ("file: a\n\0", "special characters"),
        ("!!python/object/apply:os.system ['true']\n", "python/object"),
        ("file: *nowhere\n", "nowhere"),
        ("file: a\nfile: b\n", "file is there twice"),
        ("file: a\nservers: [{listen: 'x:0', listen: 'y:0', certificate: c, private_key: k}]\n", "line 2"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_with_its_name_and_the_place(
    config_file: Path, text: str, complaint: str
) -> None:
    config_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(config_file, Settings)
    assert str(config_file) in str(caught.value)
    assert complaint in str(caught.value)


def test_what_is_written_once_may_be_used_twice_and_changed(config_file: Path) -> None:
    config_file.write_text("""
    file: a
    servers:
      - &first {listen: 'a:0', certificate: c, private_key: k}
      - &second {<<: *first, listen: 'b:0'}
      - {<<: *second, listen: 'c:0'}
    """)
    assert [server.listen for server in load(config_file, Settings).servers] == ["a:0", "b:0", "c:0"]


def test_a_file_that_contains_itself_is_refused(config_file: Path) -> None:
    config_file.write_text("file: a\nservers: &all [*all]\n")
    with pytest.raises(ConfigError):
        load(config_file, Settings)


def test_a_file_that_is_no_text_is_refused(config_file: Path) -> None:
    config_file.write_bytes(b"file: \xff\xfe\n")
    with pytest.raises(ConfigError):
        load(config_file, Settings)


def test_a_missing_file_and_a_folder_are_refused(config_file: Path) -> None:
    for path in (config_file, config_file.parent):
        with pytest.raises(ConfigError, match=str(path)):
            load(path, Settings)


def test_a_configuration_cannot_be_changed() -> None:
    config = ChannelConfig(target="x", ca=Path("ca.pem"))
    with pytest.raises(AttributeError):
        config.target = "y"  # type: ignore[misc]
