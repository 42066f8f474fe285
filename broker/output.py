"""What a person or a program sees: tables, JSON, messages.

Results go to stdout, everything said beside them to stderr. Rich is imported only for a terminal.
"""

import codecs
import io
import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from mlbroker.broker.errors import MlbrokerError

GAP = 2  # columns between two cells of a table
LEAST = 8  # columns that a cell of words is given at least, on a narrow terminal
# A short word, an identifier, an amount or a moment, which is of no use in pieces; or nothing.
_WHOLE = re.compile(r"|\S{1,12}|\S{0,31}\d\S{0,31}|\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?")


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


# What runners of CI obey in a log: `::error::` where a line begins, `##[group]` and `##vso[…]`
# anywhere in it.
_ORDER = re.compile(r"^([^\S\n]*):(?=:)|#(?=#\w*\[)", re.MULTILINE)


def inert(text: str, colon: str = "\\x3a", sharp: str = "\\x23") -> str:
    """`text` without anything that a runner of CI would obey; all that is printed goes through.

    `colon` and `sharp` are how the format spells those characters.
    """
    if "::" not in text and "##" not in text:
        return text
    return _ORDER.sub(lambda found: sharp if found[1] is None else found[1] + colon, text)


def in_a_line(text: str) -> str:
    """`clean(text)` on one line, also where a file's name has several."""
    return clean(text).replace("\n", "\\n").replace("\t", "\\t")


# What stands for a sign that a terminal of another encoding than UTF-8 lacks; others become `?`.
_PLAIN = {"…": "...", "→": "->", "±": "+-", "─": "-", "├": "|", "└": "`", "·": ".", "∝": "~"}


def write_whatever_the_terminal_can_show() -> None:
    """From now on no text fails for the encoding of stdout or stderr, which the locale decides."""
    if all(_is_utf8(stream) for stream in (sys.stdout, sys.stderr)):
        return
    codecs.register_error("mlbroker.plain", _in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="mlbroker.plain")


def _is_utf8(stream: TextIO) -> bool:
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def _in_plain_signs(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign, "?") for sign in lacking), error.end


def fail(error: MlbrokerError) -> int:
    """Print what went wrong and what to do about it; returns the exit code."""
    say(f"Error: {error}")
    return error.exit_code


def say(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    print(inert(clean(text)), file=sys.stderr)


def print_line(text: str) -> None:
    """A line of the result, on stdout."""
    cleaned = inert(clean(text))
    if is_terminal():
        import textwrap

        width = _columns()
        indent = " " * (len(cleaned) - len(cleaned.lstrip()) + 2)
        cleaned = "\n".join(
            textwrap.fill(line, width, subsequent_indent=indent) if len(line) > width else line
            for line in cleaned.split("\n")
        )
    print(cleaned)


def warn(text: str) -> None:
    """A line that must not be missed, on stderr."""
    say(f"Warning: {text}")


def print_json(document: Mapping[str, Any]) -> None:
    """One JSON document on stdout. Money is passed in as decimal strings; NaN is refused."""
    print(json_text(document))


def print_json_line(document: Mapping[str, Any]) -> None:
    """One of several JSON documents on stdout, a line each; it is there when this returns."""
    line = json.dumps(document, allow_nan=False, ensure_ascii=True)
    print(inert(line, sharp="\\u0023"), flush=True)


def json_text(document: Mapping[str, Any]) -> str:
    """The document, in ASCII."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=True)
    return inert(text, sharp="\\u0023")


def print_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Rows of equal keys as CSV on stdout, under `columns`, else under the first one's keys."""
    _write_csv(sys.stdout, rows, columns)


def csv_text(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """The same as a text."""
    file = io.StringIO()
    _write_csv(file, rows, columns)
    return file.getvalue()


def _write_csv(file: TextIO, rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    import csv

    writer = csv.writer(file, lineterminator="\n")
    if columns:
        writer.writerow(columns)
    for number, row in enumerate(rows):
        if number == 0 and not columns:
            writer.writerow(row)
        writer.writerow(map(_cell, row.values()))


def _cell(value: object) -> str:
    """A leading = + - @ would be a formula to a spreadsheet."""
    text = "" if value is None else str(value)
    formula = text[:1] in ("=", "+", "-", "@") and not isinstance(value, int | float)
    return f"'{text}" if formula else text


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
    spare: Sequence[int] = (),
) -> None:
    """A table: drawn by Rich on a terminal, aligned plain text when piped.

    `right` names the right-aligned columns; `highlight` is the index of a row to stress. `spare`
    are the indices of columns to leave out, one after the other, on a terminal too narrow for all.
    """
    cells = [[in_a_line(cell) for cell in row] for row in rows]
    if is_terminal():
        columns, cells = _narrowed(columns, cells, spare)
        _rich_table(columns, cells, title, right, highlight)
        return
    if title:
        print(inert(clean(title)))
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for row in [list(columns), *cells]:
        line = "  ".join(
            cell.rjust(width) if name in right else cell.ljust(width)
            for cell, width, name in zip(row, widths, columns, strict=True)
        )
        print(inert(line.rstrip()))


def print_rows(
    columns: Mapping[str, str],
    rows: Iterable[Mapping[str, Any]],
    *,
    right: Sequence[str] = (),
    spare: Sequence[int] = (),
) -> None:
    """A table of a document's rows: `columns` are heading -> key; what is null stays empty."""
    cells = [
        ["" if row[key] is None else str(row[key]) for key in columns.values()] for row in rows
    ]
    print_table(list(columns), cells, right=right, spare=spare)


def _columns() -> int:
    """How wide the terminal is."""
    import shutil  # brings compressors along, which few commands need

    return shutil.get_terminal_size().columns


def _narrowed(
    columns: Sequence[str], cells: list[list[str]], spare: Sequence[int]
) -> tuple[Sequence[str], list[list[str]]]:
    """Without as many of the spare columns as it takes to fit the terminal."""
    widths = [max(map(len, column)) + GAP for column in zip(columns, *cells, strict=True)]
    room = _columns()
    gone: set[int] = set()
    for index in spare:
        if sum(width for number, width in enumerate(widths) if number not in gone) <= room:
            break
        gone.add(index)

    def kept(row: Sequence[str]) -> list[str]:
        return [cell for number, cell in enumerate(row) if number not in gone]

    return kept(columns), [kept(row) for row in cells]


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

    table = Table(
        title=title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    needed = GAP * len(columns)
    for name, *cells in zip(columns, *rows, strict=True):
        whole = all(_WHOLE.fullmatch(cell) for cell in cells)
        needed += max(map(len, (name, *cells))) if whole else LEAST
        justify: Any = "right" if name in right else "left"
        table.add_column(name, justify=justify, no_wrap=whole, overflow="fold")
    for index, row in enumerate(rows):
        style = "bold green" if index == highlight else None
        table.add_row(*(Text(cell) for cell in row), style=style)
    # Rather than cut such a one, let the terminal break the line.
    Console(width=max(needed, _columns())).print(table)
