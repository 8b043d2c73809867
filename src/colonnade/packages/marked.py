"""YAML with the lines kept: a plain value, and where in the file each part of it was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from colonnade.packages.fault import Path


class NotYaml(Exception):
    """`line` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class Document:
    """One YAML document. Raises NotYaml for text that is none."""

    def __init__(self, text: str) -> None:
        loader = yaml.SafeLoader(text)
        try:
            self._root: yaml.Node | None = loader.get_single_node()
            self.repeated = [] if self._root is None else list(_repeated(self._root, set()))
            """Keys written twice in one mapping, with the line of the later one: the later one counts."""
            self.value: Any = None if self._root is None else loader.construct_document(self._root)  # pyright: ignore[reportUnknownMemberType]
        except (yaml.MarkedYAMLError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            raise NotYaml(getattr(error, "problem", None) or str(error), mark.line + 1 if mark else 1) from error
        except (ValueError, yaml.YAMLError) as error:
            raise NotYaml(str(error), 1) from error
        finally:
            loader.dispose()  # pyright: ignore[reportUnknownMemberType]

    def line(self, path: Path) -> int:
        """Of the last part of `path` that is in the file; what is not in it is passed over, as names of types are."""
        node, line = self._root, 1
        for step in path:
            found = _child(node, step)
            if found is not None:
                node, line = found
        return line


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return None


def _repeated(node: yaml.Node, seen: set[int]) -> Iterator[tuple[str, int]]:
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        keys: set[tuple[str, str]] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in keys:
                    yield key.value, key.start_mark.line + 1
                keys.add((key.tag, key.value))
            yield from _repeated(value, seen)
    if isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _repeated(value, seen)


def dotted(path: Sequence[str | int]) -> str:
    """`weights[0].source`"""
    parts = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return "".join(parts).lstrip(".")
