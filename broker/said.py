"""A document that anybody may have written, taken apart value by value; nothing here fails."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

from mlbroker.broker.guest.box import MOST_POINTS
from mlbroker.broker.output import clean

T = TypeVar("T")

LONGEST_TEXT = 300
MOST_STEPS = 10**15
LONGEST_S = 1e10


class Said:
    """Takes values out of one mapping, and notes the names of those it does not understand."""

    def __init__(self, raw: object, within: str = "", unclear: list[str] | None = None) -> None:
        self.raw: Mapping[str, object] = raw if isinstance(raw, dict) else {}
        self._within = within
        self.unclear: list[str] = [] if unclear is None else unclear

    def inner(self, name: str) -> "Said | None":
        """A mapping."""
        found = self.raw.get(name)
        inner = Said(found, f"{self._within}{name}.", self.unclear)
        return self._understood(name, inner if isinstance(found, dict) else None)

    def inners(self, name: str, most: int) -> "list[Said]":
        """The mappings of a list."""
        found = self.raw.get(name)
        items = found[:most] if isinstance(found, list) else []
        return [Said(item, f"{self._within}{name}.", self.unclear) for item in items]

    def points(self, name: str) -> tuple[tuple[int, float], ...]:
        """Counts and their times, both growing; nothing where any of them is not."""
        found = self.raw.get(name)
        if not isinstance(found, list) or len(found) > MOST_POINTS:
            return self._understood(name, None) or ()
        points: list[tuple[int, float]] = []
        for item in found:
            pair = item if isinstance(item, list) and len(item) == 2 else [None, None]
            both = Said(dict(zip(("step", "at_s"), pair, strict=True)))
            step, at_s = both.count("step", MOST_STEPS), both.number("at_s", LONGEST_S)
            last = points[-1] if points else (-1, 0.0)
            if step is None or at_s is None or step <= last[0] or at_s < last[1]:
                return self._understood(name, None) or ()
            points.append((step, at_s))
        return tuple(points)

    def word(self, name: str, among: frozenset[str]) -> str | None:
        """One of these words."""
        found = self.raw.get(name)
        return self._understood(name, found if isinstance(found, str) and found in among else None)

    def text(self, name: str) -> str | None:
        """Of one line, no longer than anybody reads, that no terminal obeys."""
        found = self.raw.get(name)
        if not isinstance(found, str):
            return self._understood(name, None)
        return clean(" ".join(found[: 4 * LONGEST_TEXT].split()))[:LONGEST_TEXT]

    def texts(self) -> Mapping[str, str]:
        """All texts, as they are: to be compared, not shown."""
        return {name: text for name, text in self.raw.items() if isinstance(text, str)}

    def count(self, name: str, most: int) -> int | None:
        """A whole number from 0 on."""
        found = self.raw.get(name)
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= most:
            return found
        return self._understood(name, None)

    def number(self, name: str, most: float) -> float | None:
        """A number from 0 on."""
        found = self.raw.get(name)
        # Compared before it is converted: some whole numbers have no float, and NaN is in no range.
        if isinstance(found, int | float) and not isinstance(found, bool) and 0 <= found <= most:
            return float(found)
        return self._understood(name, None)

    def moment(self, name: str) -> datetime | None:
        """A time with its zone."""
        found = self.raw.get(name)
        try:
            moment = datetime.fromisoformat(found) if isinstance(found, str) else None
        except ValueError:
            moment = None
        # Far ones could not be reckoned with.
        fits = moment is not None and moment.tzinfo is not None and 2000 <= moment.year <= 2200
        return self._understood(name, moment if fits else None)

    def _understood(self, name: str, value: T | None) -> T | None:
        if value is None and self.raw.get(name) is not None:
            self.unclear.append(self._within + name)
        return value
