"""YAML for files that spend money: plain data only, every value with its line.

No aliases, anchors, merge keys, tags or repeated keys; bounded size, depth and number of values.
Scalars stay strings: nothing is typed here, so `NO`, `90:00` and `1e3` mean what they say.
"""

import os
import stat
from pathlib import Path
from typing import NoReturn

from mlbroker.broker.errors import InputError

MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 20_000
_NULLS = ("", "~", "null", "Null", "NULL")


class Node:
    """A scalar (`text`), a mapping (`fields`) or a sequence (`items`), and where it stands.

    `fields` maps a key to the key's line and the value.
    """

    __slots__ = ("fields", "items", "line", "plain", "text")

    def __init__(self, line: int) -> None:
        self.line = line
        self.text: str | None = None
        self.plain = False
        self.fields: dict[str, tuple[int, Node]] | None = None
        self.items: list[Node] | None = None

    @property
    def is_null(self) -> bool:
        """Nothing, or an unquoted null."""
        return self.plain and self.text in _NULLS

    @property
    def kind(self) -> str:
        """What it is, for messages."""
        if self.fields is not None:
            return "a mapping"
        return "a list" if self.items is not None else "a single value"


def read_text(path: Path) -> str:
    """The text of a small regular file; anything else is refused without waiting for it."""
    return decode(read_bytes(path), str(path))


def read_bytes(path: Path) -> bytes:
    """The first bytes of a regular file, one more than is allowed at most."""
    where = str(path)
    try:
        # A FIFO without a writer would block a plain open for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise InputError("no such file", where=where) from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be read: {getattr(error, 'strerror', error)}", where=where
        ) from None
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise InputError("is a folder, not a file", where=where)
        if not stat.S_ISREG(mode):
            raise InputError("is not a regular file (a pipe, socket or device)", where=where)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=where) from None
    finally:
        os.close(descriptor)


def decode(content: bytes, where: str) -> str:
    """UTF-8 text without NUL, byte order mark or control characters."""
    if len(content) > MAX_BYTES:
        raise InputError(f"is larger than {MAX_BYTES // 1_000_000} MB", where=where)
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise InputError(
            "starts with a byte order mark", where=where, hint="save it as plain UTF-8"
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"is not UTF-8: byte 0x{content[error.start]:02x}",
            where=f"{where}:{line}",
            hint="save it as UTF-8",
        ) from None


def parse(text: str, where: str, *, with_empty: bool = False) -> list[Node]:
    """The documents of `text`, in order; empty ones are left out, but for `with_empty`."""
    if len(text) > MAX_BYTES:
        raise InputError(f"is larger than {MAX_BYTES // 1_000_000} MB", where=where)
    refuse_control_characters(text, where)
    documents = _Builder(where).documents(text)
    return [document for document in documents if with_empty or not document.is_null]


def refuse_control_characters(text: str, where: str) -> None:
    """Refuse what no text file has, with its line."""
    if text.isprintable():
        return
    for number, line in enumerate(text.split("\n"), 1):
        if line.isprintable():
            continue
        for character in line:
            if (character < " " and character not in "\t\r") or character == "\x7f":
                raise InputError(
                    f"control character U+{ord(character):04X}", where=f"{where}:{number}"
                )


class _Builder:
    """Turns parser events into nodes, refusing what has no place in a job file."""

    def __init__(self, where: str) -> None:
        self.where = where

    def documents(self, text: str) -> list[Node]:
        import yaml

        loader = getattr(yaml, "CLoader", yaml.Loader)
        documents: list[Node] = []
        try:
            # An open collection is (its node, the key that waits for a value, that key's line).
            open_nodes: list[tuple[Node, str | None, int]] = []
            for count, event in enumerate(yaml.parse(text, Loader=loader)):
                line = event.start_mark.line + 1 if event.start_mark else 1
                if count > 2 * MAX_VALUES:
                    self._fail(line, f"more than {MAX_VALUES} values")
                if isinstance(event, yaml.CollectionEndEvent):
                    open_nodes.pop()
                elif isinstance(event, yaml.NodeEvent):
                    self._refuse_extras(event, line)
                    node = Node(line)
                    if isinstance(event, yaml.ScalarEvent):
                        if "\0" in event.value:
                            # As "\\0": no command, name or variable can hold it.
                            self._fail(line, "control character U+0000")
                        node.text, node.plain = event.value, event.implicit[0]
                    elif isinstance(event, yaml.MappingStartEvent):
                        node.fields = {}
                    else:
                        node.items = []
                    if not open_nodes:
                        documents.append(node)
                    else:
                        self._attach(open_nodes, node)
                    if node.text is None:
                        open_nodes.append((node, None, 0))
                        if len(open_nodes) > MAX_DEPTH:
                            self._fail(line, f"nested more than {MAX_DEPTH} levels deep")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = " ".join(filter(None, (error.context, error.problem)))
            line = mark.line + 1 if mark else 1
            tab = "\t" in "".join(text.split("\n")[line - 1 : line])
            hint = "YAML is indented with spaces, not tabs" if tab else None
            self._fail(line, f"not valid YAML: {said}", hint)
        except yaml.YAMLError as error:
            raise InputError(
                f"not valid YAML: {getattr(error, 'reason', error)}", where=self.where
            ) from None
        return documents

    def _attach(self, open_nodes: list[tuple[Node, str | None, int]], node: Node) -> None:
        parent, key, key_line = open_nodes[-1]
        if parent.items is not None:
            parent.items.append(node)
        elif key is not None:
            assert parent.fields is not None
            parent.fields[key] = (key_line, node)
            open_nodes[-1] = (parent, None, 0)
        else:
            open_nodes[-1] = (parent, self._key(parent, node), node.line)

    def _key(self, parent: Node, node: Node) -> str:
        assert parent.fields is not None
        if node.text is None:
            self._fail(node.line, f"{node.kind} cannot be a key")
        if node.plain and node.text == "<<":
            self._fail(node.line, "merge keys (<<) are not allowed", "write the fields out")
        if node.text in parent.fields:
            first = parent.fields[node.text][0]
            self._fail(node.line, f"{quoted(node.text)} is given twice (first on line {first})")
        return node.text

    def _refuse_extras(self, event: object, line: int) -> None:
        import yaml

        if isinstance(event, yaml.AliasEvent):
            self._fail(line, f"aliases (*{event.anchor}) are not allowed", "write the value out")
        anchor = getattr(event, "anchor", None)
        if anchor is not None:
            self._fail(line, f"anchors (&{anchor}) are not allowed", "write the values out")
        tag = getattr(event, "tag", None)
        if tag is not None:
            self._fail(line, f"tags ({tag}) are not allowed", "leave the tag out")

    def _fail(self, line: int, what: str, hint: str | None = None) -> NoReturn:
        raise InputError(what, where=f"{self.where}:{line}", hint=hint) from None


def quoted(text: str) -> str:
    """A value as a message shows it: shortened, in quotes, on one line."""
    short = text if len(text) <= 60 else text[:57] + "…"
    return "'" + short.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + "'"
