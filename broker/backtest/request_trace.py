"""Reads a trace of requests: rows of a span of time each, or a row a request."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.tables import open_table, refuse_what_is_no_file
from mlbroker.broker.files.yaml_strict import quoted
from mlbroker.broker.words import count, duration
from mlbroker.policies.service.interface import HOUR_MS
from mlbroker.policies.service.replay import Row

# Columns of each form; the first form that a table has is taken.
COUNTS = ("time_s", "requests")
RATES = ("time_s", "requests_per_s")
SINGLE = ("time_s", "input_tokens", "output_tokens")
_FORMS = (COUNTS, RATES, SINGLE)
_HINT = f"columns: {'; or '.join(', '.join(form) for form in _FORMS)} (a row a request)"
# Single requests are counted in spans so long, in a trace that is longer than two days in longer.
_BIN_MS, _LONG_BIN_MS, _LONG_MS = 10_000, 60_000, 2 * 86_400_000
# Beyond this many usual spans between two rows some are missing.
_GAP = 1.5
# No row tells of the hours that is longer, and no service is recorded for longer.
_LONGEST_ROW_S = 6 * 3600.0
_LONGEST_S = 3 * 366 * 86_400.0
_MOST_ROWS = 100_000
_MOST = 1e18


@dataclass(frozen=True, slots=True)
class _Table:
    """Moments and amounts (of requests, or requests a second) in the order of the file."""

    form: tuple[str, ...]
    times_s: list[float]
    amounts: list[float]
    lines: list[int]


def read_requests(path: Path, service: str | None, report: Callable[[str], None]) -> list[Row]:
    """The rows without gaps between them; what was assumed of the trace is said through `report`.

    `service` picks one of a table with such a column. InputError names file, line and column.
    """
    table = _read(path, service)
    _refuse_times(path, table)
    rows = _single(table) if table.form is SINGLE else _spans(path, table, report)
    if not any(row.requests for row in rows):
        raise InputError("the trace has no requests", where=str(path))
    if len(rows) <= _MOST_ROWS:
        return rows
    report(f"{path}: {count(len(rows), 'row')}: put together to a minute each")
    return _by_the_minute(rows)


def _read(path: Path, service: str | None) -> _Table:
    refuse_what_is_no_file(path)
    with open_table(path, strict=True) as (names, lines):
        form = next((form for form in _FORMS if set(form) <= set(names)), None)
        if form is None:
            raise InputError("these are not the columns of a trace", where=str(path), hint=_HINT)
        if twice := [name for name in (*form, "service") if names.count(name) > 1]:
            raise InputError(f"there are two columns {twice[0]}", where=str(path))
        places = {name: names.index(name) for name in (*form, "service") if name in names}
        rows = _of_service(_Cells(path, places), lines, service)
        table = _Table(form, [], [], [])
        for line, cells, of in rows:
            table.times_s.append(of.number(line, cells, "time_s"))
            amounts = [of.number(line, cells, name) for name in form[1:]]
            table.amounts.append(1.0 if form is SINGLE else amounts[0])
            table.lines.append(line)
    if not table.times_s:
        raise InputError("the trace has no rows", where=str(path), hint=_HINT)
    return table


@dataclass(frozen=True, slots=True)
class _Cells:
    path: Path
    places: Mapping[str, int]

    def text(self, line: int, cells: Sequence[str], column: str) -> str:
        """A cell that must be there."""
        at = self.places[column]
        if at >= len(cells):
            raise self.wrong(line, column, "the cell is missing")
        return cells[at].strip()

    def number(self, line: int, cells: Sequence[str], column: str) -> float:
        """Zero or more."""
        text = self.text(line, cells, column)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < _MOST:
            raise self.wrong(line, column, f"{quoted(text)} is not a number of zero or more")
        return value

    def wrong(self, line: int, column: str, what: str) -> InputError:
        """What a cell has wrong, and where it is."""
        return InputError(what, where=f"{self.path}, line {line}, column {column}")


def _of_service(
    of: _Cells, lines: Iterator[tuple[int, list[str]]], service: str | None
) -> Iterator[tuple[int, list[str], _Cells]]:
    """The rows of the one service."""
    if "service" not in of.places:
        if service is not None:
            raise InputError("the trace has no column service", where="--service")
        yield from ((line, cells, of) for line, cells in lines)
        return
    known: dict[str, None] = {}
    for line, cells in lines:
        name = of.text(line, cells, "service")
        known[name] = None
        if service is None and len(known) > 1:
            first, second = (quoted(each) for each in known)
            hint = "--service NAME picks one in a replay; a plan wants a file of one"
            raise InputError(f"holds {first}, {second} …", where=str(of.path), hint=hint)
        if service in (None, name):
            yield line, cells, of
    if service is not None and service not in known:
        named = ", ".join(quoted(each) for each in list(known)[:9])
        raise InputError(
            f"there is no service {quoted(service)}", where="--service", hint=f"it has {named}"
        )


def _refuse_times(path: Path, table: _Table) -> None:
    times = table.times_s
    if times[0] >= 1e11 or times[-1] - times[0] > _LONGEST_S:
        raise InputError(
            "these times are no seconds: are they milliseconds?",
            where=f"{path}, column time_s",
            hint="divide them by 1000",
        )
    for place, (before, after) in enumerate(pairwise(times), 1):
        if after < before or (after == before and table.form is not SINGLE):
            what = "goes back" if after < before else "comes twice"
            raise InputError(
                f"the time {what}: {after:.15g} after {before:.15g}",
                where=f"{path}, line {table.lines[place]}, column time_s",
                hint="sort the rows by time_s, one row for each span",
            )


def _spans(path: Path, table: _Table, report: Callable[[str], None]) -> list[Row]:
    times = [round(1000 * time_s) for time_s in table.times_s]
    if len(times) == 1:
        raise InputError("one row alone has no span", where=str(path), hint="give two or more")
    steps = [after - before for before, after in pairwise(times)]
    if min(steps) < 1:
        raise InputError("rows are less than a millisecond apart", where=f"{path}, column time_s")
    usual = int(median(steps))
    if usual > _LONGEST_ROW_S * 1000:
        raise InputError(
            f"rows are {duration(usual / 1000)} apart: are the times milliseconds?",
            where=f"{path}, column time_s",
            hint="divide them by 1000; a row may be of six hours at most",
        )
    rates = table.form is RATES
    parts: list[tuple[int, int, float | None]] = []
    for start, step, amount in zip(times, [*steps, usual], table.amounts, strict=True):
        span = step if step <= _GAP * usual else usual
        # In a table of rates a zero is a window that nobody recorded.
        known = None if rates and not amount else amount * span / 1000 if rates else amount
        parts.append((start, span, known))
        if span < step:
            parts.append((start + span, step - span, None if rates else 0.0))
    _tell_of_gaps(path, table, parts, usual, report)
    return _filled(parts)


def _tell_of_gaps(
    path: Path,
    table: _Table,
    parts: Sequence[tuple[int, int, float | None]],
    usual: int,
    report: Callable[[str], None],
) -> None:
    missing = len(parts) - len(table.times_s)
    unknown = [part for part in parts if part[2] is None]
    if table.form is RATES and unknown:
        hours = sum(span for _, span, _ in unknown) / HOUR_MS
        report(
            f"{path}: {count(len(unknown), 'gap')} of {hours:.4g} h in all (rows missing or zero):"
            " read as a straight line between the rates beside them"
        )
    elif missing:
        lost_ms = sum(span for _, span, _ in parts) - usual * len(table.times_s)
        report(
            f"{path}: {count(missing, 'gap')} of about {max(lost_ms, 0) / HOUR_MS:.4g} h in all:"
            " read as no requests"
        )


def _filled(parts: Sequence[tuple[int, int, float | None]]) -> list[Row]:
    """Unknown spans get the rate between those of the known ones beside them."""
    known = [at for at, part in enumerate(parts) if part[2] is not None]
    if not known:
        return [Row(start, span, 0.0) for start, span, _ in parts]
    rows = []
    after = iter([*known, None])
    last, following = None, next(after)
    for at, (start, span, requests) in enumerate(parts):
        if at == following:
            last, following = at, next(after)
        if requests is None:
            beside = [_rate(parts[near]) for near in (last, following) if near is not None]
            share = 0.5
            if last is not None and following is not None:
                share = (at - last) / (following - last)
            rate = beside[0] * (1 - share) + beside[-1] * share
            requests = rate * span
        rows.append(Row(start, span, requests))
    return rows


def _by_the_minute(rows: Sequence[Row]) -> list[Row]:
    """Neighbours put together while they last no longer than that."""
    merged: list[Row] = []
    for row in rows:
        if merged and merged[-1].span_ms + row.span_ms <= _LONG_BIN_MS:
            start, span, requests = merged[-1]
            merged[-1] = Row(start, span + row.span_ms, requests + row.requests)
        else:
            merged.append(row)
    return merged


def _rate(part: tuple[int, int, float | None]) -> float:
    return (part[2] or 0.0) / part[1]


def _single(table: _Table) -> list[Row]:
    first, last = (round(1000 * table.times_s[at]) for at in (0, -1))
    bin_ms = _BIN_MS if last - first <= _LONG_MS else _LONG_BIN_MS
    start = first - first % bin_ms
    counts = [0.0] * ((last - start) // bin_ms + 1)
    for time_s in table.times_s:
        counts[(round(1000 * time_s) - start) // bin_ms] += 1
    return [Row(start + bin_ms * at, bin_ms, number) for at, number in enumerate(counts)]
