"""Reads a recorded trace of spot availability: `time_s, zone, available, spot price`."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.tables import open_table, refuse_what_is_no_file
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count
from mlbroker.policies.spot.replay import Trace

PRICE = "spot_price_per_hour_usd"
REQUIRED = ("time_s", "zone", "available")
# us-west-2a, us-central1-b, eastus-1: a region, and a letter or a number of the zone.
_ZONE = re.compile(r"(?P<region>.*\d)-?[a-z]|(?P<other>.*[a-z])-\d")
# Times of one grid differ by no more than this share of a tick.
_JITTER = 0.02


@dataclass(frozen=True, slots=True)
class _Row:
    time_s: float
    zone: str
    up: bool
    price: float  # USD an hour; NaN where none is given
    line: int


def read_trace(
    path: Path,
    on_demand_usd_per_h: float,
    zones: Sequence[str],
    spot_usd_per_h: float | None,
    report: Callable[[str], None],
) -> Trace:
    """The trace on one grid of time; what was assumed of it is said through `report`.

    Spot is bid for at the price on demand: where it is dearer, there is none. `zones` are all of
    the trace where empty; `spot_usd_per_h` is for traces without prices.
    """
    rows = _rows(path)
    known = sorted({row.zone for row in rows})
    if unknown := [zone for zone in zones if zone not in known]:
        hint = f"its zones: {', '.join(known)}"
        raise InputError(f"the trace has no zone {quoted(unknown[0])}", where="--zone", hint=hint)
    names = list(dict.fromkeys(zones)) or known
    rows = _priced([row for row in rows if row.zone in names], path, spot_usd_per_h)
    times, tick_s = _grid(sorted({row.time_s for row in rows}), path, report)
    up = np.zeros((len(times), len(names)), bool)
    price = np.full(up.shape, np.nan)
    seen = np.zeros(up.shape, bool)
    for row in rows:
        at = round((row.time_s - times[0]) / tick_s), names.index(row.zone)
        if seen[at]:
            up[at] &= row.up  # two looks within one tick
        else:
            seen[at], up[at] = True, row.up
        price[at] = row.price
    if lacking := int(seen.size - seen.sum()):
        ticks = f"{lacking:,} of {seen.size:,} looks"
        report(f"{path}: {ticks} are not in the trace: no machine is reckoned with there")
    dear = up & (price > on_demand_usd_per_h)
    if dear.any():
        report(
            f"{path}: spot costs more than on demand in {dear.sum() / up.sum():.1%} of the time: "
            "no machine is reckoned with there"
        )
    regions = tuple(region_of(name) for name in names)
    return Trace(tuple(names), regions, tick_s / 3600, up & ~dear, np.nan_to_num(price))


def region_of(zone: str) -> str:
    """The region that a zone's name tells; the name itself where it tells none."""
    found = _ZONE.fullmatch(zone)
    return (found["region"] or found["other"]) if found else zone


def _rows(path: Path) -> list[_Row]:
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, rows):
        if missing := [name for name in REQUIRED if name not in names]:
            hint = f"columns: {', '.join(REQUIRED)}, {PRICE} (optional)"
            raise InputError(f"there is no column {missing[0]}", where=str(path), hint=hint)
        places = [names.index(name) for name in (*REQUIRED, PRICE) if name in names]
        read = [
            _row(path, line, [cells[at] for at in places if at < len(cells)])
            for line, cells in rows
        ]
    if len(read) < 2:
        raise InputError("the trace is empty", where=str(path))
    return read


def _row(path: Path, line: int, cells: list[str]) -> _Row:
    where = f"{path}, line {line}"
    if len(cells) < len(REQUIRED):
        raise InputError("cells are missing", where=where)
    time, zone, available, *price = (cell.strip() for cell in cells)
    if available not in ("0", "1"):
        raise InputError(f"available is {quoted(available)}, not 0 or 1", where=where)
    if not zone:
        raise InputError("the zone has no name", where=where)
    return _Row(
        _number(time, "time_s", where, least=0),
        zone,
        available == "1",
        _number(price[0], PRICE, where, least=1e-9) if price and price[0] else math.nan,
        line,
    )


def _number(text: str, column: str, where: str, least: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < 1e12:
        raise InputError(f"{column} is {quoted(text)}: no such time or price", where=where)
    return value


def _priced(rows: list[_Row], path: Path, given: float | None) -> list[_Row]:
    """Every look with a machine has a price; prices where there is none are no matter."""
    if all(math.isnan(row.price) for row in rows):
        if given is None:
            hint = "give one for all: --spot-price-per-hour-usd 0.92"
            raise InputError("the trace has no spot prices", where=str(path), hint=hint)
        return [_Row(row.time_s, row.zone, row.up, given, row.line) for row in rows]
    bare = [row for row in rows if row.up and math.isnan(row.price)]
    if bare and all(math.isnan(row.price) == row.up for row in rows):
        raise InputError(
            "there are prices just where available is 0: the column seems to be inverted",
            where=str(path),
        )
    if bare:
        raise InputError(
            f"a machine is available, and no price is given ({count(len(bare), 'such line')})",
            where=f"{path}, line {bare[0].line}",
        )
    return rows


def _grid(
    times: list[float], path: Path, report: Callable[[str], None]
) -> tuple[list[float], float]:
    """Times at even distances from the first to the last, and the distance."""
    if len(times) < 2:
        raise InputError("the trace has one moment only", where=str(path))
    gaps = np.diff(times)
    tick_s = float(np.median(gaps))
    ticks = round((times[-1] - times[0]) / tick_s) + 1
    off = np.abs(
        np.asarray(times) - times[0] - tick_s * np.round((np.asarray(times) - times[0]) / tick_s)
    )
    if (off > _JITTER * tick_s).any():
        report(f"{path}: times are uneven, and taken to be {tick_s:g} s apart")
    return [times[0] + number * tick_s for number in range(ticks)], tick_s
