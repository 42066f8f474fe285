"""Reads series of carbon intensity: a CSV (or gzipped CSV, or Parquet) of one zone or several."""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.intensity_columns import Columns, checked, columns_of
from mlbroker.broker.files.tables import Rows, open_table, refuse_what_is_no_file
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.policies.intensity import Intensity

# No grid comes near it: oil shale emits some 1.1 kg. What is above is of another unit.
MOST_KG_PER_KWH = 3.0
# Means over a month, or a year, tell nothing of an hour.
MOST_STEP_S = 86_400.0
# A region and its file: aws/us-east-1=FILE.
_FOR_PLACE = re.compile(r"([a-z][a-z0-9-]*/[A-Za-z0-9-]+)=(.+)", re.DOTALL)

Points = list[tuple[float, float]]


def split_place(text: str) -> tuple[str | None, Path]:
    """The region of `aws/us-east-1=FILE`, None where only a file is named; and the file."""
    found = _FOR_PLACE.fullmatch(text)
    return (None, Path(text)) if found is None else (found[1], Path(found[2]))


def read_intensity(path: Path, note: Callable[[str], None]) -> list[Intensity]:
    """The series of each zone in the file; what it leaves open, and what was taken, goes to `note`.

    InputError of a file that cannot be read, of moments without a time zone, of values that no
    grid has, and of two for one moment. Rows without a value are gaps.
    """
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, rows):
        columns = columns_of(names, str(path))
        columns, zones = _zones(path, columns, rows)
    if not zones:
        raise InputError("the series is empty", where=str(path))
    if columns.assumed is not None:
        note(f"{path} names no unit: it is read as {columns.assumed}.")
    return [_series(path, zone, columns, points) for zone, points in sorted(zones.items())]


def _zones(path: Path, columns: Columns, rows: Rows) -> tuple[Columns, dict[str, Points]]:
    """Moments and values by zone; that of a file without zones is the empty name."""
    zones: dict[str, Points] = {}
    said: tuple[str, str] | None = None
    cells_at = [at for at in (columns.unit, columns.told) if at is not None]
    least = max(columns.time, columns.value, columns.zone or 0, *cells_at, 0) + 1
    for line, cells in rows:
        if len(cells) < least:
            raise InputError("cells are missing", where=f"{path}, line {line}")
        now = _cell(cells, columns.unit), _cell(cells, columns.told)
        if now != said:
            if said is not None:
                raise InputError(
                    f"the unit or signal changes to {quoted(' '.join(now).strip())}",
                    where=f"{path}, line {line}",
                )
            said = now
            columns = checked(columns, *now, where=f"{path}, line {line}")
        text = cells[columns.value].strip()
        if not text:
            continue
        value = _number(text) * columns.kg_per_unit
        if not 0 <= value <= MOST_KG_PER_KWH:
            raise InputError(
                f"no grid emits {quoted(text)}, which is {value:.4g} kgCO2e per kWh",
                where=f"{path}, line {line}",
                hint="is it of another unit?",
            )
        at_s = _moment_s(cells[columns.time], columns, f"{path}, line {line}")
        zones.setdefault(_cell(cells, columns.zone), []).append((at_s, value))
    return columns, zones


def _series(path: Path, zone: str, columns: Columns, points: Points) -> Intensity:
    points.sort()
    start_s, kg_per_kwh = np.array(points).T
    steps = np.diff(start_s)
    again = np.flatnonzero(steps == 0)
    if len(again):
        if (kg_per_kwh[again] != kg_per_kwh[again + 1]).any():
            at = datetime.fromtimestamp(start_s[again[0]], UTC)
            raise InputError(
                f"there are two values for {at:%Y-%m-%d %H:%M} UTC{_of(zone)}", where=str(path)
            )
        keep = np.append(steps > 0, True)
        start_s, kg_per_kwh = start_s[keep], kg_per_kwh[keep]
        steps = np.diff(start_s)
    if not len(steps):
        raise InputError(f"one moment is no series{_of(zone)}", where=str(path))
    step_s = float(np.median(steps))
    if step_s > MOST_STEP_S:
        raise InputError(
            f"its values are {step_s / 86_400:.3g} days apart{_of(zone)}",
            where=str(path),
            hint="take the hourly series",
        )
    return Intensity(str(path), zone or None, columns.signal, start_s, kg_per_kwh, step_s)


def _of(zone: str) -> str:
    return f" (zone {quoted(zone)})" if zone else ""


def _cell(cells: list[str], at: int | None) -> str:
    return "" if at is None else cells[at].strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _moment_s(text: str, columns: Columns, where: str) -> float:
    """Seconds since 1970 UTC. Only a column that says so is UTC without an offset."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{quoted(text)} is not a date and time", where=where) from None
    if moment.tzinfo is None:
        if not columns.in_utc:
            raise InputError(
                f"{quoted(text)} has no time zone",
                where=where,
                hint="write it as 2026-11-30T14:00Z",
            )
        moment = moment.replace(tzinfo=UTC)
    try:
        return moment.timestamp()
    except (OverflowError, ValueError):
        raise InputError(f"{quoted(text)} is out of range", where=where) from None
