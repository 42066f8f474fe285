"""Pieces of Vega-Lite specs that charts of several pages have in common."""

import math
from collections.abc import Sequence
from typing import Any

from mlbroker.broker.report.rows import Figures, Rows

Spec = dict[str, Any]
# An axis over more than this factor is logarithmic.
_WIDE = 20
# The same cloud has the same colour on every page.
_HUES = {"azure": "--series-1", "aws": "--series-2", "gcp": "--series-3"}
_OTHER_HUES = ("--series-4", "--series-5", "--series-6")


def numbers(rows: Rows, name: str) -> list[float]:
    """What is known of a column of figures."""
    column = rows.column(name)
    assert isinstance(column, Figures)
    return [number for number in column.numbers() if number is not None]


def axis(
    name: str, title: str | None, values: Sequence[float], *, usd: bool = False, zero: bool = True
) -> Spec:
    """The encoding of figures along an axis: logarithmic where `values` are far apart, else from
    zero on, unless what they are held against is no nought.

    Where some of those far apart are zero (machines that cost nothing), the logarithm begins beyond
    the least of the others.
    """
    labels: Spec = {"format": "$,~r" if usd else ",~r"}
    made: Spec = {"field": name, "type": "quantitative", "title": title, "axis": labels}
    if not _far_apart(values):
        return made | {"scale": {"zero": zero, "nice": True}}
    if min(values) > 0:
        return made | {"scale": {"type": "log", "nice": False, "padding": 12}}
    labels["values"] = [0, *_decades(values)]
    scale = {"type": "symlog", "constant": _least(values), "nice": False, "padding": 12}
    return made | {"scale": scale}


def share_along(value: float, values: Sequence[float]) -> float:
    """Where on the axis over `values` it stands: 0 at the least of them, 1 at the most."""
    least, most = min(0.0, *values), max(values)
    if _far_apart(values):
        constant = 0.0 if min(values) > 0 else _least(values)
        least = min(values)
        value, least, most = (math.log(each + constant) for each in (value, least, most))
    return (value - least) / (most - least) if most > least else 0.0


def _far_apart(values: Sequence[float]) -> bool:
    known = [value for value in values if value > 0]
    return bool(known) and min(values) >= 0 and max(known) > _WIDE * min(known)


def _least(values: Sequence[float]) -> float:
    return min(value for value in values if value > 0)


def _decades(values: Sequence[float]) -> list[float]:
    """The powers of ten among them."""
    low, high = math.log10(_least(values)), math.log10(max(values))
    return [float(f"1e{power}") for power in range(math.ceil(low), math.floor(high) + 1)]


def cloud_colour(clouds: Sequence[str]) -> Spec:
    """The encoding of `cloud` as a colour, with its legend."""
    others = [cloud for cloud in clouds if cloud not in _HUES]
    hues = _HUES | {
        cloud: _OTHER_HUES[place % len(_OTHER_HUES)] for place, cloud in enumerate(others)
    }
    scale = {"domain": list(clouds), "range": [hues[cloud] for cloud in clouds]}
    return {"field": "cloud", "type": "nominal", "title": "cloud", "scale": scale}


def tooltip(rows: Rows, names: Sequence[str]) -> list[Spec]:
    """What is said of a mark: columns by their names, as the tables show them."""
    said = []
    for name in names:
        column = rows.column(name)
        field = f"{name}_text" if isinstance(column, Figures) else name
        said.append({"field": field, "type": "nominal", "title": column.head})
    return said
