"""Where in a YAML file something stands."""

import re
from collections.abc import Sequence
from pathlib import Path

import yaml


class YamlLines:
    """The lines of a file's values.

    Args:
        file: The file. If it can't be read, it has one line for everything.

    """

    def __init__(self, file: Path) -> None:
        try:
            self._root = yaml.compose(file.read_text(), yaml.SafeLoader)
        except (OSError, yaml.YAMLError, UnicodeDecodeError):
            self._root = None

    def line(self, *way: str | int) -> int:
        """Return the line, from 1 on, of what keys and positions lead to, or of the last thing on the way there."""
        node, line = self._root, 1
        for step in way:
            following = None
            if isinstance(node, yaml.MappingNode):
                following = next(((key, value) for key, value in node.value if key.value == step), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                following = (node.value[step], node.value[step])
            if following is None:
                break
            line, node = following[0].start_mark.line + 1, following[1]
        return line

    def line_of_value(self, value: str) -> int | None:
        """Return the first line on which a value or key stands; None if it stands nowhere."""
        nodes = [self._root] if self._root else []
        while nodes:
            node = nodes.pop(0)
            if isinstance(node, yaml.ScalarNode):
                if node.value == value:
                    return int(node.start_mark.line) + 1
            elif isinstance(node, yaml.MappingNode):
                nodes[:0] = [each for pair in node.value for each in pair]
            else:
                nodes[:0] = node.value
        return None


def way_in(message: str) -> Sequence[str | int]:
    """Return the keys and positions that a message about a configuration file names, such as `$.grants[0].scopes`."""
    named = re.search(r"\$\.([\w.\[\]]+)|(\w+\[\d+\][\w.\[\]]*)", message)
    steps = re.findall(r"\w+", named[0]) if named else []
    return [int(step) if step.isdigit() else step for step in steps]
