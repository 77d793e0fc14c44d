"""`sekisho policy test`: whether a policy decides as somebody expects."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as ET

import typer

from cli.home import DEFAULT_HOME
from cli.output import HomeOption, JsonOption, console, print_json
from cli.policy.sources import ConfigOption, SetOption, chosen
from mesh.config import ConfigError
from policy.expectations import Result, results


def compare(
    file: Annotated[Path, typer.Argument(help="The expected decisions, YAML.")],
    junit: Annotated[Path | None, typer.Option(help="Where to write the results for CI, as JUnit does.")] = None,
    config: ConfigOption = None,
    descriptor_set: SetOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    as_json: JsonOption = False,
) -> None:
    """Compare the policy with decisions that are expected of it. The exit status is 1 if one is otherwise.

    The file has a list `expectations`; each has `method` and `expect` (ALLOWED, or the reason of a refusal), and may
    have `listener` (else it is for each), `client_type` (else there is no token), `scopes`, `client_id`, `partner_id`
    and `platform_id`.

    Example: sekisho policy test expectations.yaml --config gateway.yaml --junit policy.xml
    """
    found = list(results(file, chosen(config, descriptor_set, home)))
    if junit:
        _write(junit, found)
    if as_json:
        print_json([{**asdict(result), "met": result.met} for result in found])
    else:
        _show(found)
    if not all(result.met for result in found):
        raise typer.Exit(1)


def _show(found: Sequence[Result]) -> None:
    failed = [result for result in found if not result.met]
    for result in failed:
        told = f"{result.file}:{result.line}: {result.name}: expected {result.expected}, got {result.got}"
        console.print(told, soft_wrap=True, markup=False)
    console.print(f"{len(found) - len(failed)} as expected, {len(failed)} not")


def _write(file: Path, found: Sequence[Result]) -> None:
    failures = sum(not result.met for result in found)
    suite = ET.Element("testsuite", name="sekisho policy", tests=str(len(found)), failures=str(failures), errors="0")
    for result in found:
        place = {"file": result.file, "line": str(result.line)}
        case = ET.SubElement(
            suite, "testcase", place, classname=result.method, name=result.name, time=f"{result.seconds:.6f}"
        )
        if not result.met:
            ET.SubElement(case, "failure", message=f"expected {result.expected}, got {result.got}")
    try:
        ET.ElementTree(suite).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise ConfigError(f"{file}: can't be written: {error.strerror}") from error
