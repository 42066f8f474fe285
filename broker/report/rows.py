"""The data of a page: columns of figures and words, written once for its charts and tables.

A browser reads it out of a JSON island in the page. What a figure looks like is decided here, in
Python: the island has each figure twice, as a number to sort and draw by, and as text to show.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from mlbroker.broker.output import clean

Number = float | Decimal | None
# Digits of a number in the island; what is shown is not made from it.
_DIGITS = 7


class Words(NamedTuple):
    """A column of names or sentences. `unknown` is shown for None, or for each row its own."""

    name: str
    head: str
    values: Sequence[str | None]
    unknown: str | Sequence[str] = "unknown"

    def texts(self) -> list[str]:
        """As a reader sees them."""
        return [
            _word(self.unknown, row) if value is None else clean(value)
            for row, value in enumerate(self.values)
        ]


class Figures(NamedTuple):
    """A column of numbers, with how one is `shown`, unit included where the head does not say it.

    What is None, or not finite, is unknown: it is drawn nowhere and sorted last.
    """

    name: str
    head: str
    values: Sequence[Number]
    shown: Callable[[Any], str]
    unknown: str | Sequence[str] = "unknown"

    def texts(self) -> list[str]:
        """As a reader sees them."""
        return [
            _word(self.unknown, row) if number is None else self.shown(self.values[row])
            for row, number in enumerate(self.numbers())
        ]

    def numbers(self) -> list[float | None]:
        """To sort and draw by."""
        return [_number(value) for value in self.values]


Column = Words | Figures


@dataclass(frozen=True, eq=False)
class Rows:
    """Columns of equal length. The `marked` row stands out.

    A chart's spec calls a column by its name, and the text of its figures `NAME_text`.
    """

    columns: Sequence[Column]
    marked: int | None = None

    def __post_init__(self) -> None:
        if len({len(column.values) for column in self.columns}) > 1:
            raise ValueError("columns of different length")

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def column(self, name: str) -> Column:
        """The column of that name; KeyError where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def island(self) -> str:
        """All of it as JSON that may stand in a script element.

        Equal texts stand once: `at` says for each row which of them it is.
        """
        columns = [_packed(column) for column in self.columns]
        return json_island({"rows": len(self), "marked": self.marked, "columns": columns})


def rows_of(records: Iterable[Mapping[str, Any]], columns: Mapping[str, Any]) -> Rows:
    """Rows from one mapping a row, for small tables.

    `columns` has for each name its head, or its head and how a number is shown.
    """
    listed = list(records)
    made: list[Column] = []
    for name, head in columns.items():
        values = [record.get(name) for record in listed]
        if isinstance(head, str):
            made.append(Words(name, head, values))
        else:
            made.append(Figures(name, head[0], values, head[1]))
    return Rows(made)


def json_island(value: Any) -> str:
    """JSON that no browser takes for anything else, wherever in the page it stands.

    ASCII alone, and none of the characters that HTML knows: a text cannot end the script element.
    ValueError for a number that JSON does not have.
    """
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _packed(column: Column) -> dict[str, Any]:
    texts = column.texts()
    places: dict[str, int] = {}
    at = [places.setdefault(text, len(places)) for text in texts]
    packed: dict[str, Any] = {"name": column.name, "head": clean(column.head)}
    packed |= {"texts": list(places), "at": at}
    if isinstance(column, Figures):
        packed["numbers"] = column.numbers()
    return packed


def _word(unknown: str | Sequence[str], row: int) -> str:
    return unknown if isinstance(unknown, str) else unknown[row]


def _number(value: Number) -> float | None:
    number = math.nan if value is None else float(value)
    return float(f"{number:.{_DIGITS}g}") if math.isfinite(number) else None
