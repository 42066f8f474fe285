"""Parts -> one HTML file that works offline, in dark and light, on paper and by keyboard."""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbroker.broker.output import clean
from mlbroker.broker.report.library import FOLDER, asset, chart_library
from mlbroker.broker.report.parts import Chart, KeyFigures, Notes, Part, Prose, Table
from mlbroker.broker.report.rows import Figures, Rows, Words, json_island

# Filters over words offer a list up to so many different ones.
_MOST_OPTIONS = 60
# Texts of more characters may have several lines in a table.
_LONG = 36


@dataclass(frozen=True)
class Served:
    """A page among others that `mlbroker ui` serves: their `names` by address, `here` its own, and
    the `version` of what it shows. It reloads itself when there is another.
    """

    names: Mapping[str, str]
    here: str
    version: str


def page(title: str, parts: Sequence[Part], served: Served | None = None) -> str:
    """The page. MlbrokerError where it has charts, and the chart library was not built."""
    from jinja2 import Environment, FileSystemLoader  # slow to import

    # Only scripts that are written here run: whatever a text may smuggle in is none of them.
    scripts = [asset("page.js")]
    if any(isinstance(part, Chart) for part in parts):
        scripts.insert(0, chart_library())
    if served is not None:
        scripts.append(asset("live.js"))
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(
        title=title,
        blocks=list(_blocks(parts)),
        islands=[rows.island() for rows in _all_rows(parts)],
        style=asset("page.css"),
        scripts=scripts,
        hashes=[_hash(script) for script in scripts],
        served=served,
    )


@dataclass(frozen=True)
class _Block:
    """A part with what the template asks of it. `rows` is the number of its island."""

    kind: str
    part: Any
    number: int
    rows: int = 0
    table: int = 0  # the number of the block with the chart's rows as a table; 0: its own
    spec: str = ""
    columns: Sequence["_Head"] = ()
    body: Sequence[Sequence[str]] = ()
    filters: Sequence["_Filter"] = ()


@dataclass(frozen=True)
class _Head:
    name: str
    head: str
    kind: str  # as page.css calls it


def _head(column: Words | Figures, texts: Sequence[str]) -> _Head:
    number = isinstance(column, Figures)
    long = not number and max(map(len, texts), default=0) > _LONG
    return _Head(column.name, column.head, "number" if number else "long" if long else "")


@dataclass(frozen=True)
class _Filter:
    name: str
    head: str
    options: Sequence[str]
    number: bool


def _blocks(parts: Sequence[Part]) -> Iterable[_Block]:
    places = {id(rows): place for place, rows in enumerate(_all_rows(parts))}
    tables = {
        id(part.rows): number for number, part in enumerate(parts, 1) if isinstance(part, Table)
    }
    for number, part in enumerate(parts, 1):
        match part:
            case Prose():
                yield _Block("prose", part, number)
            case KeyFigures():
                yield _Block("figures", part, number)
            case Notes():
                yield _Block("notes", part, number)
            case Table():
                yield _table(part, number, places[id(part.rows)])
            case Chart():
                own = Table(part.title, part.rows)
                shown = _table(own, number, places[id(part.rows)])
                yield _Block(
                    "chart",
                    part,
                    number,
                    shown.rows,
                    tables.get(id(part.rows), 0),
                    json_island(part.spec),
                    shown.columns,
                    shown.body,
                )


def _table(table: Table, number: int, place: int) -> _Block:
    rows = table.rows
    names = [each.name for each in rows.columns] if table.columns is None else table.columns
    columns = [rows.column(name) for name in names]
    texts = [column.texts() for column in columns]
    return _Block(
        "table",
        table,
        number,
        place,
        columns=[_head(*each) for each in zip(columns, texts, strict=True)],
        body=list(zip(*(column[: table.first] for column in texts), strict=True)),
        filters=[_filter(rows.column(name)) for name in table.filters],
    )


def _filter(column: Words | Figures) -> _Filter:
    if isinstance(column, Figures):
        return _Filter(column.name, column.head, (), True)
    options = sorted(set(column.texts()))
    short = len(options) <= _MOST_OPTIONS and max(map(len, options), default=0) <= _LONG
    listed = options if short else ()
    return _Filter(column.name, column.head, listed, False)


def _all_rows(parts: Sequence[Part]) -> list[Rows]:
    """Each once, however many charts and tables show it."""
    held = {id(part.rows): part.rows for part in parts if isinstance(part, Chart | Table)}
    return list(held.values())


def _hash(script: str) -> str:
    """As a content security policy names a script."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
