"""Reads restrictions in a process of its own: whatever the file is like, the gateway's calls don't wait for it.

YAML takes its time, which a thread would take from the event loop; and a file that is made to exhaust whoever reads it
exhausts that process.
"""

import asyncio
import hashlib
import os
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from mesh.access.narrowing import Restrictions
from mesh.access.rules import ClientType, MethodRule
from mesh.config import ConfigError
from policy.sources.restrictions import compile_restrictions, parse_restrictions, restrictions_content

_PATIENCE_SECONDS = 60.0
_MAX_MEMORY_BYTES = 2 * 1024**3


class _Question(msgspec.Struct, frozen=True):
    file: str
    rules: Mapping[str, MethodRule]
    doors: Mapping[str, frozenset[ClientType]]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What a file says.

    Attributes:
        error: What is wrong with it; then there is no more.
        restrictions: What it takes away.
        entries: How many entries it has.
        digest: SHA-256 of the file, in hexadecimal.

    """

    error: str = ""
    restrictions: Restrictions = {}
    entries: int = 0
    digest: str = ""


async def read_apart(file: Path, rules: Mapping[str, MethodRule], doors: Mapping[str, frozenset[ClientType]]) -> Answer:
    """Return what a file says that is good here.

    Args:
        file: The restrictions.
        rules: The rules of the methods behind the gateway that have one, by their path.
        doors: The client types that each door admits, by its name.

    Raises:
        ConfigError: If it is not good.

    """
    question = msgspec.msgpack.encode(_Question(str(file), rules, doors))
    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            output, _ = await reader.communicate(question)
    except TimeoutError as error:
        raise ConfigError(f"{file}: could not be read in {_PATIENCE_SECONDS:.0f} s") from error
    finally:
        if reader.returncode is None:
            reader.kill()
            await reader.wait()
    if reader.returncode:
        raise ConfigError(f"{file}: what reads it ended with status {reader.returncode}")
    answer = msgspec.msgpack.decode(output, type=Answer)
    if answer.error:
        raise ConfigError(answer.error)
    return answer


def _answer(question: _Question) -> Answer:
    file = Path(question.file)
    try:
        content = restrictions_content(file)
        entries = parse_restrictions(file, content)
        compiled = compile_restrictions(file, entries, question.rules, question.doors)
    except ConfigError as error:
        return Answer(str(error))
    return Answer(restrictions=compiled, entries=len(entries), digest=hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    os.nice(5)  # calls come first
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))
    asked = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Question)
    sys.stdout.buffer.write(msgspec.msgpack.encode(_answer(asked)))
