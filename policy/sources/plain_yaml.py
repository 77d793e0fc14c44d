"""YAML of the plainest kind, read fast and with bounded means: for files that are large, or changed in a hurry."""

from typing import Any, TypeAlias

import yaml

# Without libyaml, its Python twin.
_Reader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
# Deeper files make no sense; and parsers, not only this one, spend memory or time on depth.
_MAX_DEPTH = 16

Plain: TypeAlias = "str | list[Plain] | dict[str, Plain]"


class _Open:
    """A list or mapping whose end has not come yet."""

    __slots__ = ("key", "value")

    def __init__(self, value: list[Plain] | dict[str, Plain]) -> None:
        self.value = value
        self.key: str | None = None  # of the mapping's next value

    def add(self, value: Plain) -> None:
        if isinstance(self.value, list):
            self.value.append(value)
        elif self.key is not None:
            self.value[self.key] = value
            self.key = None
        elif not isinstance(value, str):
            raise ValueError("a key is no text")
        elif value in self.value:
            raise ValueError(f"{value} is there twice")
        else:
            self.key = value


def read_plain(text: str) -> Plain:
    """Return what a document says, in texts, lists and mappings: what texts mean is for the reader.

    Args:
        text: One document.

    Raises:
        yaml.YAMLError: If it is no YAML.
        ValueError: If it is more than that: it has anchors, aliases or tags, a key twice, another document, or more
            depth than anybody needs.

    """
    reader = _Reader(text)
    try:
        root = _Open([])
        stack = [root]
        while (event := reader.get_event()) is not None:
            try:
                _take(event, stack)
            except ValueError as error:
                raise ValueError(f"line {event.start_mark.line + 1}: {error}") from error
    finally:
        reader.dispose()
    if len(root.value) != 1:
        raise ValueError(f"there are {len(root.value)} documents, not one")
    return root.value[0]  # type: ignore[index]


def _take(event: yaml.Event, stack: list[_Open]) -> None:
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise ValueError("anchors and aliases are not taken here: write it out")
    if getattr(event, "tag", None):
        raise ValueError("tags are not taken here")
    if isinstance(event, yaml.ScalarEvent):
        stack[-1].add(event.value)
    elif isinstance(event, yaml.CollectionStartEvent):
        if len(stack) > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} levels")
        opened = _Open([] if isinstance(event, yaml.SequenceStartEvent) else {})
        stack[-1].add(opened.value)
        stack.append(opened)
    elif isinstance(event, yaml.CollectionEndEvent):
        stack.pop()
