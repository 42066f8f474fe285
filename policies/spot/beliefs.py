"""What is believed of spot machines of a type at a place: from own ones, and from published shares.

All is a factor on the rates of `hazards`. A place is drawn to the region, the region to the type,
and the type to what is published: what few machines tell of a zone is mostly luck, and what many
tell of it should win.

    type    the most likely factor, where its logarithm is normal around the published one's, give
            or take a factor of two: a month's share of all such machines, read as a day's, or the
            rates of another type and year, may be wrong several times over; ten events show it
    region  (8 + events) / (8 / type + expected events)
    zone    (8 + events) / (8 / region + expected events)

8 is how alike zones are taken to be everywhere else. The events of a zone count in its region and
type too. Other types of a cloud say nothing: machines without a GPU live far longer.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from mlbroker.policies.interruptions import (
    MACHINE_LIFE_H,
    UNKNOWN_CPU_PER_HOUR,
    UNKNOWN_GPU_PER_HOUR,
    interruptions_per_s,
)
from mlbroker.policies.spot.hazards import (
    PREEMPTIONS_PER_H,
    PRIOR_EVENTS,
    RECOVERIES_PER_H,
    UNKNOWN_AGE_H,
    Record,
    expected_events,
    expected_life_h,
    expected_outage_h,
)

# A factor of two.
_PUBLISHED_SD = math.log(2)
# A share of nothing is one that was rounded.
_LEAST_FACTOR = 1 / 256
# What ended between two looks took some time.
_LEAST_H = 1 / 60


class What(StrEnum):
    """What was seen: a machine until it was taken, or an outage until it ended."""

    MACHINE = "machine"
    OUTAGE = "outage"


_RATES_PER_H = {What.MACHINE: PREEMPTIONS_PER_H, What.OUTAGE: RECOVERIES_PER_H}


class Place(NamedTuple):
    """Where machines of a type are. `zone` None is anywhere in the region."""

    cloud: str
    region: str
    zone: str | None
    instance_type: str


class Observation(NamedTuple):
    """A machine or an outage that was seen between two of its ages, and whether it ended then.

    `machines` were asked for at once, and end together; `at` is when it was seen last.
    """

    place: Place
    what: What
    from_h: float
    until_h: float
    ended: bool
    at: datetime
    machines: int = 1

    @property
    def expected(self) -> float:
        """How many such events the usual rates would have made meanwhile."""
        until = max(self.until_h, self.from_h + _LEAST_H) if self.ended else self.until_h
        return self.machines * expected_events(_RATES_PER_H[self.what], self.from_h, until)


class Tally(NamedTuple):
    """Observations of one kind together: how many, for how long, events, and those expected."""

    seen: int = 0
    hours: float = 0.0
    events: int = 0
    expected: float = 0.0

    @classmethod
    def of(cls, expected: Sequence[tuple[Observation, float]]) -> "Tally":
        """The sum of observations with what each was to be expected, whatever their order."""
        seen = [each for each, _ in expected]
        return cls(
            sum(each.machines for each in seen),
            math.fsum((each.until_h - each.from_h) * each.machines for each in seen),
            sum(each.ended for each in seen),
            math.fsum(events for _, events in expected),
        )


class Seen(NamedTuple):
    """What was seen here, in the region, and of the type; each holds those before it."""

    here: Tally
    region: Tally
    type: Tally


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of a place's machines and outages, and from what.

    `band` is the published share, `prior` what it makes of the usual rates. The records take what
    is seen from now on; `expected` of one that starts at more than the usual rates is below 0.
    """

    place: Place
    preempted: Record
    recovered: Record
    machines: Seen
    outages: Seen
    band: float | None
    prior: float

    @property
    def life_h(self) -> float:
        """Mean life of a new machine."""
        return expected_life_h(0.0, self.preempted.factor)

    @property
    def outage_h(self) -> float:
        """Mean time until an outage ends that nobody saw begin."""
        return expected_outage_h(UNKNOWN_AGE_H, self.recovered.factor)

    def taken_within(self, hours: float) -> float:
        """The chance that a new machine is taken within so many hours."""
        return -math.expm1(-self.preempted.factor * expected_events(PREEMPTIONS_PER_H, 0.0, hours))


def band_factor(rate: float | None, has_gpu: bool = True) -> float:
    """A published monthly share of machines taken (0 to 1), as a factor on `PREEMPTIONS_PER_H`.

    As `interruptions` reads it, it is the chance within one day: the factor makes as many events of
    a machine's first day. Where nobody publishes one, machines with a GPU are like those whose
    rates were recorded, and others as much safer as `interruptions` guesses.
    """
    if rate is None:
        return 1.0 if has_gpu else UNKNOWN_CPU_PER_HOUR / UNKNOWN_GPU_PER_HOUR
    in_a_day = interruptions_per_s(max(0.0, rate), has_gpu) * 3600 * MACHINE_LIFE_H
    return max(_LEAST_FACTOR, in_a_day / expected_events(PREEMPTIONS_PER_H, 0.0, MACHINE_LIFE_H))


def believe(
    observations: Iterable[Observation], place: Place, band: float | None, has_gpu: bool = True
) -> Belief:
    """What own machines and the published share make likely; without any, the share alone."""
    of_type = [
        each
        for each in observations
        if (each.place.cloud, each.place.instance_type) == (place.cloud, place.instance_type)
    ]
    prior = band_factor(band, has_gpu)
    machines, outages = (_seen(of_type, place, what) for what in What)
    return Belief(
        place,
        _record(machines, prior, place.zone is not None),
        _record(outages, 1.0, place.zone is not None),
        machines,
        outages,
        band,
        prior,
    )


def _seen(of_type: list[Observation], place: Place, what: What) -> Seen:
    all_ = [(each, each.expected) for each in of_type if each.what is what]
    region = [pair for pair in all_ if pair[0].place.region == place.region]
    here = [pair for pair in region if place.zone in (None, pair[0].place.zone)]
    return Seen(Tally.of(here), Tally.of(region), Tally.of(all_))


def _record(seen: Seen, prior: float, zoned: bool) -> Record:
    factor = _of_type(seen.type, prior)
    if zoned:
        factor = _drawn(seen.region, factor).factor
    return _drawn(seen.here, factor)


def _drawn(tally: Tally, factor: float) -> Record:
    """The record whose factor is this one, until some eight events have told otherwise."""
    usual = PRIOR_EVENTS / factor - PRIOR_EVENTS
    return Record(float(tally.events), usual + tally.expected)


def _of_type(tally: Tally, prior: float) -> float:
    """The most likely factor: Poisson events, and a normal logarithm around the prior's."""
    middle, variance = math.log(prior), _PUBLISHED_SD**2
    if tally.expected == 0:
        return prior
    # From the right of the only root, where the slope is falling: Newton's steps never pass it.
    log = middle
    if tally.events:
        log = max(middle, math.log(tally.events / tally.expected))
    for _ in range(100):
        likely = math.exp(log) * tally.expected
        step = (tally.events - likely - (log - middle) / variance) / (likely + 1 / variance)
        log += step
        if abs(step) < 1e-13:
            break
    return math.exp(log)
