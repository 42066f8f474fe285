"""Reads the fields of one mapping of a file: each error with file, line, key and a way out."""

from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn, Self, TypeVar

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import Node, parse, quoted

T = TypeVar("T")


class Fields:
    """One mapping at `path` in the file `source`. Null values count as absent."""

    def __init__(self, node: Node, path: str, source: str) -> None:
        if node.fields is None:
            what = f"{path}: must be a mapping, not {node.kind}" if path else "must be a mapping"
            raise InputError(
                what, where=f"{source}:{node.line}", hint="write `key: value` lines under it"
            )
        self._fields = node.fields
        self.path = path
        self.source = source

    @classmethod
    def document(cls, text: str, source: str, known: Iterable[str], hint: str) -> Self:
        """The mapping that is all of a file's text, with no key but the `known`."""
        documents = parse(text, source)
        if len(documents) != 1:
            raise InputError("must hold one document", where=source, hint=hint)
        fields = cls(documents[0], "", source)
        fields.refuse_unknown(known)
        return fields

    def name_of(self, key: str) -> str:
        """The full key path of `key`."""
        return f"{self.path}.{key}" if self.path else key

    def node(self, key: str) -> Node | None:
        """The value, None when it is absent or null."""
        line_and_node = self._fields.get(key)
        return None if line_and_node is None or line_and_node[1].is_null else line_and_node[1]

    def __iter__(self) -> Iterator[str]:
        """All keys, null ones included."""
        return iter(self._fields)

    def line(self, key: str | None = None) -> int:
        """The line of a key; without one, of the first."""
        if key in self._fields:
            return self._fields[key][0]
        return next((line for line, _ in self._fields.values()), 1)

    def fail(self, key: str, what: str, hint: str | None = None) -> NoReturn:
        """Refuse the value of `key`."""
        raise InputError(
            f"{self.name_of(key)}: {what}", where=f"{self.source}:{self.line(key)}", hint=hint
        )

    def text(self, key: str) -> str | None:
        """A single value as it is written."""
        node = self.node(key)
        if node is None:
            return None
        if node.text is None:
            self.fail(key, f"must be a single value, not {node.kind}")
        return node.text

    def value(self, key: str, parse: Callable[[str], T]) -> T | None:
        """A single value through `parse`, whose complaint gets its place and name."""
        text = self.text(key)
        return None if text is None else self.parsed(key, text, parse)

    def parsed(self, key: str, text: str, parse: Callable[[str], T]) -> T:
        """`text`, found at `key`, through `parse`."""
        try:
            return parse(text)
        except InputError as error:
            self.fail(key, error.what, error.hint)

    def required(self, key: str, parse: Callable[[str], T], hint: str | None = None) -> T:
        """A single value that must be there, through `parse`."""
        value = self.value(key, parse)
        if value is None:
            self.fail(key, "is missing", hint)
        return value

    def items(self, key: str, most: int) -> list[Self]:
        """The mappings of the list under `key`, of which there may be `most`; none when absent."""
        node = self.node(key)
        if node is None:
            return []
        if node.items is None:
            self.fail(key, f"must be a list, not {node.kind}", "start each with `- name:`")
        if len(node.items) > most:
            self.fail(key, f"more than {most} {key}")
        path = self.name_of(key)
        return [type(self)(item, f"{path}[{n}]", self.source) for n, item in enumerate(node.items)]

    def section(self, key: str) -> Self | None:
        """The mapping under `key`."""
        node = self.node(key)
        return None if node is None else type(self)(node, self.name_of(key), self.source)

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Every key must be one of `known`: a misspelt cap would be no cap."""
        names = tuple(known)
        for key in self._fields:
            if key not in names:
                near = nearest(key, names)
                hint = f"did you mean {near!r}?" if near else f"known: {', '.join(names)}"
                self.fail(key[:60], f"unknown key {quoted(key)}", hint)


def note(node: Node, path: str, lines: dict[str, int], values: dict[str, str]) -> None:
    """Write down the line of each key path and each single value, but those of secrets."""
    if node.text is not None and not path.startswith("secrets."):
        values[path] = node.text
    for key, (line, value) in (node.fields or {}).items():
        inner = f"{path}.{key}" if path else key
        lines[inner] = line
        note(value, inner, lines, values)
    for index, item in enumerate(node.items or ()):
        lines[f"{path}[{index}]"] = item.line
        note(item, f"{path}[{index}]", lines, values)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name most like `word`, when one is like it at all."""
    from difflib import get_close_matches

    by_lower = {name.lower(): name for name in names}
    close = get_close_matches(word[:60].lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def nearest_hint(word: str, names: Iterable[str], otherwise: str = "known: {names}") -> str:
    """A question after the nearest name, else what there is: all `names`, or other words."""
    known = list(names)
    near = nearest(word, known)
    return f"did you mean {near}?" if near else otherwise.replace("{names}", ", ".join(known))
