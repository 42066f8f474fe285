"""One row of a user's table, read by column: each error names file, line and column."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.yaml_strict import quoted

_MOST = 1e12


def column_places(
    path: Path, names: Sequence[str], required: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, int]:
    """Where each column stands; InputError where a required one is not there, or one is twice."""
    if missing := [name for name in required if name not in names]:
        hint = f"columns: {', '.join(required)}"
        hint += f"; optional: {', '.join(optional)}" if optional else ""
        raise InputError(f"there is no column {missing[0]}", where=str(path), hint=hint)
    if twice := [name for name in (*required, *optional) if names.count(name) > 1]:
        raise InputError(f"there are two columns {twice[0]}", where=str(path))
    return {name: names.index(name) for name in (*required, *optional) if name in names}


@dataclass(frozen=True, slots=True)
class Cells:
    """A row's cells; `places` is what `column_places` says, numbers are below `most`."""

    path: Path
    line: int
    cells: Sequence[str]
    places: Mapping[str, int]
    most: float = _MOST

    def text(self, column: str) -> str | None:
        """None where the table has no such column."""
        if column not in self.places:
            return None
        at = self.places[column]
        if at >= len(self.cells):
            raise self.wrong(column, "the cell is missing")
        return self.cells[at].strip()

    def name(self, column: str) -> str:
        """A text that must be there."""
        text = self.text(column)
        if not text:
            raise self.wrong(column, "the cell is empty")
        return text

    def number(self, column: str, above: float | None = None) -> float | None:
        """Zero or more, or more than `above`; None where there is none."""
        text = self.text(column)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < self.most or (above is not None and value <= above):
            least = "zero or more" if above is None else f"more than {above:g}"
            raise self.wrong(column, f"{quoted(text)} is not a number of {least}")
        return value

    def needed(self, column: str, above: float | None = None) -> float:
        """The same, which must be there."""
        value = self.number(column, above)
        if value is None:
            raise self.wrong(column, "the cell is empty")
        return value

    def whole(self, column: str, above: float | None = None) -> int:
        """The same, without a fraction."""
        value = self.needed(column, above)
        if value != int(value):
            raise self.wrong(column, f"{value:g} is not a whole number")
        return int(value)

    def wrong(self, column: str, what: str) -> InputError:
        """What a cell has wrong, and where it is."""
        return InputError(what, where=f"{self.path}, line {self.line}, column {column}")
