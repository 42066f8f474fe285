"""When to start a job, and where, so that it emits least and still meets its deadline.

A quote's energy is spread evenly over its expected hours from the start on, so what it emits is
its energy times the mean of the grid's series over that window. The latest start leaves the time
that the job does not exceed with the confidence asked for.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from mlbroker.policies.intensity import Intensity, Signal
from mlbroker.policies.quote import Quote

# Emissions that differ by less are not told apart, and of such machines the cheapest is taken: what
# is known of a machine's power is no better than that.
ALIKE = 1.02


class Start(NamedTuple):
    """A quote, begun when it emits least.

    `carbon_kgco2e` is over its expected hours from `at`, `now_carbon_kgco2e` from now on; the
    latter is None where the series does not cover that. `latest_at` is the last start that is in
    time with the confidence asked for. `covered` is the share of the time from now to the deadline
    that the series covers: in the rest nobody looked.
    """

    quote: Quote
    intensity: Intensity
    at: datetime
    latest_at: datetime
    expected_h: float
    carbon_kgco2e: float
    now_carbon_kgco2e: float | None
    covered: float

    @property
    def saved_kgco2e(self) -> float | None:
        """Against starting the same now."""
        now = self.now_carbon_kgco2e
        return None if now is None else now - self.carbon_kgco2e

    @property
    def saved_share(self) -> float | None:
        """The same as a share; None also where nothing would be emitted now."""
        now, saved = self.now_carbon_kgco2e, self.saved_kgco2e
        return None if not now or saved is None else saved / now


class When(NamedTuple):
    """The answer: for each place the start that emits least, the least first; and the plan's own
    choice, None where its region has no series, or `not_shifted` says why.

    `untold` are places with a series that have no start, with the reason; `deadline_s` counts from
    `now`.
    """

    now: datetime
    deadline_s: float
    signal: Signal
    regions: tuple[Start, ...]
    choice: Start | None
    not_shifted: str | None = None
    untold: Mapping[str, str] = {}


def start_of(quote: Quote, series: Intensity, now: datetime, deadline_s: float) -> Start | None:
    """When to start one quote; None where its energy is unknown, it would be late or no window
    from now to the deadline is covered.
    """
    return least_carbon([quote], series, now, deadline_s)


def least_carbon(
    quotes: Iterable[Quote], series: Intensity, now: datetime, deadline_s: float
) -> Start | None:
    """The quote and start that emit least, of one place; of those `ALIKE` the cheapest."""
    now_s = now.timestamp()
    known = [(quote.energy_kwh, quote) for quote in quotes if quote.energy_kwh is not None]
    known.sort(key=lambda item: item[0])
    floor, least_kg = float(series.kg_per_kwh.min()), math.inf
    found: list[tuple[float, Quote, float]] = []
    for kwh, quote in known:
        # No window of the series is cleaner than its cleanest hour.
        if kwh * floor > least_kg * ALIKE:
            break
        slack_s = deadline_s - (quote.sure_h or math.inf) * 3600
        # What spot does not exceed is known to a tenth of a permille.
        if slack_s < -1e-3 * deadline_s:
            continue
        at_s, mean = series.least(now_s, now_s + max(0.0, slack_s), expected_h(quote) * 3600)
        if not math.isnan(mean):
            found.append((kwh * mean, quote, at_s))
            least_kg = min(least_kg, kwh * mean)
    alike = [item for item in found if item[0] <= least_kg * ALIKE]
    if not alike:
        return None
    _, quote, at_s = min(alike, key=lambda item: (_usd(item[1]), item[0]))
    return _start(quote, series, now, deadline_s, at_s)


def expected_h(quote: Quote) -> float:
    """Hours that a quote's energy is of."""
    assert quote.energy_kwh is not None
    assert quote.power_w is not None
    return quote.energy_kwh / (quote.power_w / 1000)


def ranked(starts: Sequence[Start]) -> tuple[Start, ...]:
    """Least carbon first, then least cost."""
    return tuple(sorted(starts, key=lambda start: (start.carbon_kgco2e, _usd(start.quote))))


def _start(quote: Quote, series: Intensity, now: datetime, deadline_s: float, at_s: float) -> Start:
    assert quote.sure_h is not None
    assert quote.energy_kwh is not None
    hours, now_s = expected_h(quote), now.timestamp()
    means = series.means(np.array([at_s, now_s]), hours * 3600) * quote.energy_kwh
    later, at_once = (float(mean) for mean in means)
    return Start(
        quote=quote,
        intensity=series,
        # The moment itself, not one that rounding moved before now.
        at=now if at_s == now_s else datetime.fromtimestamp(at_s, UTC),
        latest_at=now + timedelta(seconds=max(0.0, deadline_s - quote.sure_h * 3600)),
        expected_h=hours,
        carbon_kgco2e=later,
        now_carbon_kgco2e=None if np.isnan(at_once) else at_once,
        covered=series.covered_share(now_s, now_s + deadline_s),
    )


def _usd(quote: Quote) -> float:
    return math.inf if quote.cost_usd is None else float(quote.cost_usd.expected)
