"""What a person or a program sees: tables, JSON, messages.

Results go to stdout, everything said beside them to stderr. Rich is imported only for a terminal.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from mlbroker.broker.errors import MlbrokerError


def clean(text: str) -> str:
    """`text` with control, bidirectional and other invisible characters made visible.

    Anything a user, a file or a vendor wrote goes through here before it reaches a terminal.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        c
        if c in "\n\t" or unicodedata.category(c)[0] != "C"
        else c.encode("unicode_escape", "surrogatepass").decode("ascii")
        for c in text
    )


def fail(error: MlbrokerError) -> int:
    """Print what went wrong and what to do about it; returns the exit code."""
    say(f"Error: {error}")
    return error.exit_code


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    print(clean(text), file=sys.stderr)


def print_line(text: str) -> None:
    """A line of the result, on stdout."""
    print(clean(text))


def warn(text: str) -> None:
    """A line that must not be missed, on stderr."""
    say(f"Warning: {text}")


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout. Money is passed in as decimal strings; NaN is refused."""
    print(json.dumps(document, indent=2, allow_nan=False, ensure_ascii=True))


def plain(value: Any) -> Any:
    """A value of named fields (also nested) as dictionaries, for JSON."""
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(item) for name, item in value._asdict().items()}
    return value


def is_terminal() -> bool:
    """Whether a person looks at stdout."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str | None = None,
    right: Sequence[str] = (),
    highlight: int | None = None,
) -> None:
    """A table: drawn by Rich on a terminal, aligned plain text when piped.

    `right` names the right-aligned columns; `highlight` is the index of a row to stress.
    """
    cells = [[clean(cell) for cell in row] for row in rows]
    if is_terminal():
        _rich_table(columns, cells, title, right, highlight)
        return
    if title:
        print(clean(title))
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        line = "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        )
        print(line.rstrip())


def _rich_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    title: str | None,
    right: Sequence[str],
    highlight: int | None,
) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    for index, row in enumerate(rows):
        style = "bold green" if index == highlight else None
        table.add_row(*(Text(cell) for cell in row), style=style)
    Console().print(table)
