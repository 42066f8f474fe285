"""What a service is asked for where only a rate is known, and what a month of a trace costs."""

from math import cos, pi, sin, sqrt, tau
from statistics import NormalDist, fmean, stdev
from typing import NamedTuple

from mlbroker.policies.service.fleet import Choice, Fleet, Limits
from mlbroker.policies.service.interface import HOUR_MS
from mlbroker.policies.service.mixed_replay import Trace
from mlbroker.policies.service.periods import DAY_MS
from mlbroker.policies.service.replay import Row
from mlbroker.pricing.billing import HOURS_PER_MONTH

_ROWS = 144
# No row is at the crest itself.
_CREST = (1 + cos(pi / _ROWS)) / 2
_Z95 = NormalDist().inv_cdf(0.95)


class Month(NamedTuple):
    """USD of a month like the days of the trace, and within which it is with 90 %."""

    usd: float
    low_usd: float
    high_usd: float
    days: int


class Chosen(NamedTuple):
    """The fleets, and what they were chosen for. `assumed`: the traffic's shape is not known, and
    with a `guess` (whose it is) no more is known of the one type that was played.

    `hopeless` types never meet the objective, and `unsold` ones are sold nowhere that the job may
    be. `month` is of the best fleet, where the trace is a recorded one.
    """

    choice: Choice
    limits: Limits
    mean_rps: float
    peak_rps: float
    assumed: bool
    hopeless: tuple[str, ...] = ()
    unsold: tuple[str, ...] = ()
    month: Month | None = None
    guess: str | None = None

    def used(self, fleet: Fleet) -> float:
        """Which share of the capacity that is paid for serves requests."""
        group = fleet.group
        capacity_rps = group.base_rps + fleet.following * group.rps
        return fleet.served * self.mean_rps / capacity_rps

    def usd_per_request(self, fleet: Fleet) -> float:
        """Of those that are served."""
        return float(fleet.usd_per_h) / 3600 / (fleet.served * self.mean_rps)


def daily_wave(rate_rps: float, peak_rps: float) -> list[Row]:
    """A day with this mean and this peak: peak times ((1 + sin) / 2) to the power that does it."""
    waves = [(1 + sin(tau * (at + 0.5) / _ROWS)) / 2 / _CREST for at in range(_ROWS)]
    low, high = 0.0, 1.0
    while fmean(wave**high for wave in waves) > rate_rps / peak_rps:
        high *= 2
    for _ in range(50):
        power = (low + high) / 2
        above = fmean(wave**power for wave in waves) > rate_rps / peak_rps
        low, high = (power, high) if above else (low, power)
    span_ms = DAY_MS // _ROWS
    return [
        Row(at * span_ms, span_ms, peak_rps * wave**high * span_ms / 1000)
        for at, wave in enumerate(waves)
    ]


def month_like(trace: Trace, fleet: Fleet) -> Month | None:
    """By the scatter of whole days, taken as independent; None of fewer than two.

    Of n days with the mean m and the standard deviation s a month of D days has the mean D m and
    the variance s^2 (D + D^2 / n); Student's quantile to the first order beyond the normal's.
    """
    price = float(fleet.peak.usd_per_h) if fleet.peak else 0.0
    base = float(fleet.base_usd_per_h) * DAY_MS / HOUR_MS
    costs = [base + price * each / HOUR_MS for each in trace.replica_ms_by_day(fleet.group)]
    count = len(costs)
    if count < 2:
        return None
    days = float(HOURS_PER_MONTH) * HOUR_MS / DAY_MS
    quantile = _Z95 * (1 + (_Z95**2 + 1) / (4 * (count - 1)))
    beside = quantile * stdev(costs) * sqrt(days + days**2 / count)
    usd = days * fmean(costs)
    return Month(usd, max(usd - beside, 0.0), usd + beside, count)
