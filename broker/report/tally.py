"""What runs come to together: money by its use, what was saved, deadlines, predictions held."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from decimal import Decimal
from statistics import median

from mlbroker.broker.report.entries import Entry

# Of what spent money came to, in this order. The first five are of runs that succeeded.
USES = ("useful", "setup", "unused", "lost", "unknown", "failed", "profiling", "open")
PROFILE = "profile"
# What a report can be broken down by.
KEYS: Mapping[str, Callable[[Entry], str | None]] = {
    "project": lambda entry: entry.project,
    "user": lambda entry: entry.user,
    "cloud": lambda entry: entry.cloud or None,
    "type": lambda entry: entry.instance_type or None,
    "job": lambda entry: entry.job,
    "pipeline": lambda entry: entry.whole,
    "day": lambda entry: f"{entry.at.astimezone(UTC):%Y-%m-%d}",
}


@dataclass(slots=True)
class Saved:
    """Against the usual machine, over `runs` that succeeded and have such a comparison.

    `energy_kwh` and `carbon_kgco2e` are over those of which both sides are known, `known` of them.
    """

    runs: int = 0
    usd: Decimal = Decimal(0)
    baseline_usd: Decimal = Decimal(0)
    hours: float = 0.0
    energy_kwh: float = 0.0
    energy_known: int = 0
    carbon_kgco2e: float = 0.0
    carbon_known: int = 0


@dataclass(slots=True)
class Tally:
    """Sums over runs. `energy_known` of the runs that had a machine have known energy."""

    runs: int = 0
    open_runs: int = 0
    succeeded: int = 0
    spent_usd: Decimal = Decimal(0)
    reserved_usd: Decimal = Decimal(0)
    uses_usd: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(USES, Decimal(0)))
    machine_h: float = 0.0
    useful_h: float = 0.0
    with_machine: int = 0
    energy_kwh: float = 0.0
    energy_known: int = 0
    carbon_kgco2e: float = 0.0
    carbon_known: int = 0
    saved: Saved = field(default_factory=Saved)
    deadlines: int = 0
    in_time: int = 0
    expected_in_time: float = 0.0
    expectations: int = 0

    def add(self, entry: Entry) -> None:
        """One more run."""
        self.runs += 1
        self.open_runs += entry.open
        self.succeeded += entry.succeeded
        self.spent_usd += entry.spent_usd
        self.reserved_usd += entry.held_usd if entry.open else 0
        for use, usd in _uses(entry):
            self.uses_usd[use] += usd
        self.machine_h += entry.machine_h
        self.useful_h += entry.uses_h.get("useful", 0.0)
        if entry.machine_h:
            self.with_machine += 1
            if entry.energy_kwh is not None:
                self.energy_kwh += entry.energy_kwh
                self.energy_known += 1
            if entry.carbon_kgco2e is not None:
                self.carbon_kgco2e += entry.carbon_kgco2e
                self.carbon_known += 1
        if entry.in_time is not None:
            self.deadlines += 1
            self.in_time += entry.in_time
            chance = None if entry.told is None else entry.told.chance
            if chance is not None:
                self.expectations += 1
                self.expected_in_time += chance
        _save(self.saved, entry)


def tally(entries: Iterable[Entry]) -> Tally:
    """Of all."""
    total = Tally()
    for entry in entries:
        total.add(entry)
    return total


def tallies(entries: Iterable[Entry], key: Callable[[Entry], str | None]) -> dict[str, Tally]:
    """By a key, the dearest first (days in their order); runs without one are of `(none)`."""
    found: dict[str, Tally] = {}
    for entry in entries:
        found.setdefault(key(entry) or "(none)", Tally()).add(entry)
    if key is KEYS["day"]:
        return dict(sorted(found.items()))
    return dict(sorted(found.items(), key=lambda item: (-item[1].spent_usd, item[0])))


def saved_usd(entry: Entry) -> Decimal | None:
    """What a run that succeeded cost less than it had on the usual machine."""
    if not entry.succeeded or entry.purpose or entry.baseline is None:
        return None
    return entry.baseline.usd * _pace(entry) - entry.spent_usd


@dataclass(frozen=True, slots=True)
class Calibration:
    """How often what came was at most the 10th, 50th and 90th percentile that was predicted, and
    the median of what came over the prediction's median. None without any `runs`.
    """

    runs: int
    below_p10: float | None
    below_p50: float | None
    below_p90: float | None
    median_ratio: float | None


Pair = tuple[list[float], float]


def calibration(pairs: Sequence[Pair]) -> Calibration:
    """Of predicted percentiles, each with what came."""
    if not pairs:
        return Calibration(0, None, None, None, None)
    shares = [sum(came <= quantiles[n] for quantiles, came in pairs) for n in range(3)]
    ratios = [came / quantiles[1] for quantiles, came in pairs if quantiles[1] > 0]
    p10, p50, p90 = (share / len(pairs) for share in shares)
    return Calibration(len(pairs), p10, p50, p90, median(ratios) if ratios else None)


def times(entries: Iterable[Entry]) -> list[Pair]:
    """Hours of runs that succeeded at once, as predicted and as they came."""
    found = []
    for entry in entries:
        hours, told = entry.hours, entry.told
        if entry.succeeded and entry.attempts == 1 and hours is not None and told is not None:
            found.append((list(told.hours), hours))
    return found


def costs(entries: Iterable[Entry]) -> list[Pair]:
    """The same of money, wherever all three percentiles were told."""
    found = []
    for entry in entries:
        usd = None if entry.told is None else entry.told.usd
        if entry.succeeded and usd is not None:
            found.append(([float(each) for each in usd], float(entry.spent_usd)))
    return found


def _uses(entry: Entry) -> Iterable[tuple[str, Decimal]]:
    if entry.purpose == PROFILE:
        return [("profiling", entry.spent_usd)]
    if entry.open:
        return [("open", entry.spent_usd)]
    return entry.uses_usd.items() if entry.succeeded else [("failed", entry.spent_usd)]


def _save(saved: Saved, entry: Entry) -> None:
    usual, usd = entry.baseline, saved_usd(entry)
    if usd is None or usual is None:
        return
    saved.runs += 1
    saved.usd += usd
    saved.baseline_usd += usual.usd * _pace(entry)
    saved.hours += usual.hours * entry.pace - (entry.hours or 0.0)
    if usual.energy_kwh is not None and entry.energy_kwh is not None:
        saved.energy_kwh += usual.energy_kwh * entry.pace - entry.energy_kwh
        saved.energy_known += 1
    if usual.carbon_kgco2e is not None and entry.carbon_kgco2e is not None:
        saved.carbon_kgco2e += usual.carbon_kgco2e * entry.pace - entry.carbon_kgco2e
        saved.carbon_known += 1


def _pace(entry: Entry) -> Decimal:
    return round(Decimal(entry.pace), 6)
