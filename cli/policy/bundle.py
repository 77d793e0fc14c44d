"""`sekisho policy bundle`: contracts to hand to a partner."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from cli.policy.sources import ConfigOption, ListenerOption, SetOption, chosen, doors_of
from mesh.access.rules import ALL_CLIENT_TYPES, ClientType
from mesh.config import ConfigError
from policy.handout import callable_methods, hand_out

_SET = "contracts.binpb"


def bundle(
    output: Annotated[Path, typer.Option("--output", help="A new folder, or a new file that ends with .zip.")],
    client_type: Annotated[
        list[ClientType] | None, typer.Option(help="Include what clients of this type may call. Can be repeated.")
    ] = None,
    config: ConfigOption = None,
    descriptor_set: SetOption = None,
    listener: ListenerOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Write the descriptor set and the .proto files of what outsiders may call, and of nothing else.

    Methods, services, messages, enums and options that nobody needs for that are left out, comments are kept. The
    files compile by themselves. What restrictions take away for now from everybody of a type is left out, too.

    Example: sekisho policy bundle --client-type PARTNER --listener public --output partner.zip
    """
    if output.exists():
        raise ConfigError(f"{output} is there already; nothing is overwritten")
    policy = chosen(config, descriptor_set, home)
    methods = callable_methods(policy, doors_of(policy, listener), client_type or sorted(ALL_CLIENT_TYPES))
    handout = hand_out(policy, methods)
    content = {name: text.encode() for name, text in handout.sources.items()}
    try:
        _write(output, {**content, _SET: handout.contracts.SerializeToString()})
    except OSError as error:
        raise ConfigError(f"{output}: can't be written: {error.strerror}") from error
    if as_json:
        print_json({"output": str(output), "methods": methods, "files": sorted([*content, _SET])})
    else:
        told = f"{output}: {len(methods)} methods in {len(content)} .proto files, and {_SET}"
        console.print(told, soft_wrap=True, markup=False)


def _write(output: Path, content: Mapping[str, bytes]) -> None:
    for name in content:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ConfigError(f"a contract has the name {name}, which leads out of the folder")
    if output.suffix == ".zip":
        with zipfile.ZipFile(output, "x", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(content):
                archive.writestr(zipfile.ZipInfo(name), content[name])  # with no time: the same each time
        return
    output.mkdir()
    for name, text in content.items():
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_bytes(text)
