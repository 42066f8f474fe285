"""Reads and writes measurements tables: CSV, gzipped CSV or Parquet (docs/measurements.md)."""

import csv
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from mlbroker.broker.errors import InputError
from mlbroker.broker.evidence.columns import FIELDS, finite, stored
from mlbroker.broker.files.tables import Rows, open_table, refuse_what_is_no_file
from mlbroker.broker.output import warn
from mlbroker.pricing.vendors import LOCAL
from mlbroker.profiles.measurement import Measurement

# How the text of each column is read. Features are the columns that begin with FEATURE_PREFIX.
COLUMNS = {name: field.read for name, field in FIELDS.items() if name != "features"}
REQUIRED = ("job", "config", "time_s", "price_per_hour_usd")
MAX_ROWS = 2_000_000
FEATURE_PREFIX = "spec_"


def read_measurements(path: Path, report: Callable[[str], None] = warn) -> list[Measurement]:
    """All rows of the table at `path`; InputError names the line and column of the first bad cell.

    Columns that mean nothing to mlbroker are named once through `report`.
    """
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, rows):
        return _parse(path, names, rows, report)


def _parse(
    path: Path, names: list[str], rows: Rows, report: Callable[[str], None]
) -> list[Measurement]:
    if not names:
        raise InputError("the table is empty", where=str(path), hint=_columns_hint())
    unit = "row" if path.suffix == ".parquet" else "line"
    plain, features = _understand(path, names, report)
    measurements: list[Measurement] = []
    for number, cells in rows:
        if len(cells) != len(names):
            raise InputError(
                f"{len(cells)} cells, but the header names {len(names)} columns",
                where=f"{path}, {unit} {number}",
            )
        values: dict[str, Any] = {}
        column = ""
        try:
            for column, index, convert in plain:
                if text := cells[index].strip():
                    values[column] = convert(text)
            spec = {}
            for column, index in features:
                if text := cells[index].strip():
                    spec[column[len(FEATURE_PREFIX) :]] = finite(text)
            column = ""
            measurements.append(_measurement(values, spec))
        except ValueError as error:
            place = f"{path}, {unit} {number}"
            raise InputError(
                str(error), where=f"{place}, column {column}" if column else place
            ) from None
        if len(measurements) > MAX_ROWS:
            raise InputError(f"more than {MAX_ROWS:,} rows", where=str(path))
    if not measurements:
        raise InputError("the table has a header but no rows", where=str(path))
    return measurements


def _understand(
    path: Path, names: Sequence[str], report: Callable[[str], None]
) -> tuple[list[tuple[str, int, Callable[[str], Any]]], list[tuple[str, int]]]:
    """Which columns are fields and which are features, with their positions."""
    where = f"{path}, line 1"
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"column {twice[0]} is there more than once", where=where)
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise InputError(
            f"the column{'s' * (len(missing) > 1)} {', '.join(missing)} "
            f"{'are' if len(missing) > 1 else 'is'} missing",
            where=where,
            hint=_columns_hint(),
        )
    unknown = [n for n in names if n not in COLUMNS and not n.startswith(FEATURE_PREFIX)]
    if unknown:
        report(f"{path}: columns without a meaning here are ignored: {', '.join(unknown)}")
    plain = [(n, i, COLUMNS[n]) for i, n in enumerate(names) if n in COLUMNS]
    return plain, [(n, i) for i, n in enumerate(names) if n.startswith(FEATURE_PREFIX)]


def _measurement(values: dict[str, Any], spec: dict[str, float]) -> Measurement:
    for name in ("job", "config", "time_s"):
        if name not in values:
            raise ValueError(f"{name} is empty")
    priced = "price_per_hour_usd" in values or ("cloud" in values and "instance_type" in values)
    # What was measured on one's own machine has no price, and is exported without.
    if not priced and values.get("cloud") != LOCAL:
        raise ValueError(
            "price_per_hour_usd is empty, which is allowed only in a row of this machine (cloud "
            "local), or one that names cloud and instance_type, where the price book knows it"
        )
    return Measurement(features=spec, **values)


def _columns_hint() -> str:
    return f"a measurements table needs the columns {', '.join(REQUIRED)}; see docs/measurements.md"


def write_measurements(measurements: Iterable[Measurement], file: TextIO) -> None:
    """The table as CSV, with the columns that have a value in any row; `read_measurements` reads
    it back to equal values."""
    rows = [_cells(m) for m in measurements]
    used = {name for row in rows for name in row}
    names = [n for n in COLUMNS if n in used or n in REQUIRED]
    names += sorted(n for n in used if n.startswith(FEATURE_PREFIX))
    writer = csv.DictWriter(file, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _cells(m: Measurement) -> dict[str, str]:
    values = {name: getattr(m, name) for name in COLUMNS}
    known = {name: value for name, value in values.items() if value is not None and value != {}}
    cells = {name: str(stored(name, value)) for name, value in known.items()}
    return cells | {f"{FEATURE_PREFIX}{name}": str(value) for name, value in m.features.items()}
