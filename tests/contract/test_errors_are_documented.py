"""docs/errors.md names every reason that the code can answer with, with its status, and no other."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

from mesh.errors import ServiceError

PACKAGES = ("mesh", "gateway", "authserver", "payments", "shops")


def errors(parent: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    for child in parent.__subclasses__():
        yield child
        yield from errors(child)


def test_every_reason_is_documented_with_its_status() -> None:
    for name in PACKAGES:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__") and ".migrations." not in module.name:
                importlib.import_module(module.name)
    in_code = {(error.reason, error.code.name) for error in errors() if error.__module__.split(".")[0] in PACKAGES}
    text = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
    in_docs = set(re.findall(r"^\| `([A-Z_]+)` \| `([A-Z_]+)` \|", text, re.MULTILINE))
    assert in_code == in_docs
