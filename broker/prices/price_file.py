"""Reading a user's table of prices: every row is either a price or counted as left out."""

from collections import Counter
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from mlbroker.broker.errors import InputError
from mlbroker.broker.files.tables import Rows, open_table
from mlbroker.broker.prices.records import COLUMNS, PriceRecord
from mlbroker.pricing.price_units import nano_from_usd

REQUIRED = COLUMNS[:5]
TRUTH = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True, "yes": True}
MARKETS = {"on_demand": False, "spot": True}
LONGEST_NAME = 200
MOST_ROWS = 20_000_000
SHOWN = 3


class PriceFile:
    """One pass over a CSV (also .csv.gz) or Parquet file; findings are kept for the user."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._left_out: Counter[str] = Counter()
        self._examples: list[str] = []
        self._absent: list[str] = []
        self.accepted = 0
        self._file_day = date.fromtimestamp(path.stat().st_mtime).toordinal()
        self._prices: dict[str, int | None] = {}
        self._days: dict[str, int | None] = {"": self._file_day}

    def rows(self) -> Iterator[PriceRecord]:
        """Every usable row in file order."""
        with open_table(self._path, strict=False) as (names, records):
            missing = [name for name in REQUIRED if name not in names]
            if missing:
                raise InputError(
                    f"line 1: no column {', '.join(missing)}",
                    where=str(self._path),
                    hint=f"The columns are {', '.join(COLUMNS)}.",
                )
            self._absent = [name for name in COLUMNS if name not in names]
            yield from self._usable(names, records)

    def check(self) -> None:
        """Refuse a file without a single usable price."""
        if not self.accepted:
            raise InputError("no usable price in it", where=str(self._path), hint=self._summary())

    def notices(self) -> list[str]:
        """What was left out and what was assumed, for the user."""
        found = []
        if self._left_out:
            found.append(f"{self._path}: {self._summary()}")
        if "as_of" in self._absent:
            day = date.fromordinal(self._file_day).isoformat()
            found.append(f"{self._path}: no column as_of; its prices count as of {day}")
        if "source" in self._absent:
            found.append(f"{self._path}: no column source; the file's name stands for it")
        return found

    def _summary(self) -> str:
        total = sum(self._left_out.values())
        if not total:
            return "It holds no rows."
        kinds = ", ".join(f"{count} {kind}" for kind, count in self._left_out.most_common())
        return f"{total} of {total + self.accepted} rows left out ({kinds}): " + "; ".join(
            self._examples
        )

    def _usable(self, names: list[str], records: Rows) -> Iterator[PriceRecord]:
        at = {name: names.index(name) for name in COLUMNS if name in names}
        cloud_at, region_at, type_at, market_at, price_at = (at[name] for name in REQUIRED)
        source_at, stale_at, day_at = at.get("source"), at.get("stale"), at.get("as_of")
        for line, record in records:
            if line > MOST_ROWS:
                raise InputError(f"more than {MOST_ROWS:,} rows", where=str(self._path))
            if len(record) != len(names):
                self._leave_out(line, "with a wrong number of fields", str(len(record)))
                continue
            price = self._price(record[price_at])
            spot = MARKETS.get(record[market_at].strip())
            day = self._file_day if day_at is None else self._day(record[day_at])
            stale = False if stale_at is None else TRUTH.get(record[stale_at].strip().lower())
            cloud = record[cloud_at].strip().lower()
            region, name = record[region_at].strip(), record[type_at].strip()
            if price is None:
                self._leave_out(line, "without an honest price", record[price_at])
            elif spot is None:
                self._leave_out(line, "with an unknown market", record[market_at])
            elif day is None:
                self._leave_out(line, "with a bad date", record[day_at or 0])
            elif stale is None:
                self._leave_out(line, "with a bad stale mark", record[stale_at or 0])
            elif not cloud or not region or not name:
                self._leave_out(line, "without a name", f"{cloud}/{region}/{name}")
            elif len(cloud) + len(region) + len(name) > LONGEST_NAME:
                self._leave_out(line, "with an endless name", name)
            else:
                self.accepted += 1
                source = record[source_at].strip()[:LONGEST_NAME] if source_at is not None else ""
                yield PriceRecord(
                    cloud, region, name, spot, price, day, source or self._path.name, stale
                )

    def _price(self, text: str) -> int | None:
        # Prices repeat across regions and zones; a bounded memory of them halves the work.
        if text in self._prices:
            return self._prices[text]
        price = nano_from_usd(text)
        if len(self._prices) < 100_000:
            self._prices[text] = price
        return price

    def _day(self, text: str) -> int | None:
        if text not in self._days:
            try:
                self._days[text] = date.fromisoformat(text.strip()[:10]).toordinal()
            except ValueError:
                return None
        return self._days[text]

    def _leave_out(self, line: int, kind: str, value: str) -> None:
        self._left_out[kind] += 1
        if len(self._examples) < SHOWN:
            self._examples.append(f"line {line}: {value[:40]!r}")
