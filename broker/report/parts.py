"""What a page is made of, top to bottom. All texts are plain: the page escapes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlbroker.broker.report.rows import Rows

# Rows of a table that stand in the page itself; a browser adds the others from the island.
FIRST = 50


@dataclass(frozen=True)
class Prose:
    """Paragraphs, with a heading if there is one. `strong` is for the one sentence that matters."""

    text: str | Sequence[str]
    title: str | None = None
    strong: bool = False

    @property
    def paragraphs(self) -> Sequence[str]:
        """One for each."""
        return [self.text] if isinstance(self.text, str) else self.text


@dataclass(frozen=True)
class KeyFigure:
    """A big figure with what it is, and a few words beside it."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class KeyFigures:
    """The few figures that a reader looks for first."""

    figures: Sequence[KeyFigure]


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite `spec` over `rows`, and what it shows in words, for who does not see it.

    The spec has no data of its own but for marks that are not of the rows: it calls columns by
    their names (see `Rows`). A colour in it is written as the page's style calls it (`--accent`),
    so that it follows the reader's dark or light. Without a `width` it is as wide as the page;
    its `height` is a number (of steps Vega-Lite warns on the reader's console).
    The rows can be read in a table: one of the page over the same rows, else one below the chart.
    """

    title: str
    spec: Mapping[str, Any]
    rows: Rows
    described: str


@dataclass(frozen=True)
class Table:
    """Rows to sort and to filter. `columns` are names, in the order to show; None is all of them.

    `filters` are names of columns: of words, a list to choose from or (where there are many) a box
    for a part of one; of figures, a box for the most.
    """

    title: str
    rows: Rows
    columns: Sequence[str] | None = None
    filters: Sequence[str] = ()
    first: int = FIRST


@dataclass(frozen=True)
class Notes:
    """Small print: what signs mean, where figures come from. A term and what it means, each."""

    notes: Sequence[tuple[str, str]]
    title: str | None = None


Part = Prose | KeyFigures | Chart | Table | Notes
