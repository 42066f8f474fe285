"""Whether a running training goes on with another batch, or on another machine.

Work is counted in samples: `done` and `saved` are shares of all samples that the job goes through.
What is left is weighed by what a sample is worth at a batch (docs/adaptive.md).
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from mlbroker.policies.adapt.interface import MOVE_S, MOVE_SHARE, WORK_BETWEEN_MOVES
from mlbroker.profiles.noise import efficiency

_HOUR_S = 3600.0


class Work(NamedTuple):
    """All of it: `steps` at the batch `size`. Shares of it: `done` now, `saved` at the last
    checkpoint, and `moved` when it last moved, None where it never did.
    """

    steps: int
    size: int
    done: float
    saved: float
    moved: float | None = None


class Course(NamedTuple):
    """A way to the end of the work from now on, restart and repeated work included.

    `life_h` is how long its machines may live under the cap, and `once_usd` what they cost beside
    their hours.
    """

    batch: int
    hours: float
    usd_per_hour: Decimal
    life_h: float
    once_usd: Decimal = Decimal(0)

    @property
    def usd(self) -> Decimal:
        """What it costs to the end."""
        return self.usd_per_hour * Decimal(str(self.hours)) + self.once_usd


class Verdict(NamedTuple):
    """Where to go on, as a number among the ways, or None to stay; and what that saves.

    `rescues`: staying would be late or reach the cap, and that way does not. `unpaid` is a way that
    would be worth it, and that what is left of the cap does not pay for.
    """

    to: int | None = None
    saves_usd: Decimal = Decimal(0)
    rescues: bool = False
    unpaid: int | None = None


STAY = Verdict()


def decide(
    staying: Course, ways: Sequence[Course], work: Work, most: int, deadline_h: float | None
) -> Verdict:
    """The cheapest way in time, where staying is not; else the one that saves the most, if that is
    worth a move. No batch above `most`, and none soon after the last move.
    """
    if work.moved is not None and work.done - work.moved < WORK_BETWEEN_MOVES:
        return STAY
    allowed = [number for number, way in enumerate(ways) if way.batch <= most]
    paid = [number for number in allowed if ways[number].hours <= ways[number].life_h]
    best = _best(staying, ways, paid, deadline_h)
    if best is not None:
        return best
    missed = _best(staying, ways, allowed, deadline_h)
    return STAY if missed is None else Verdict(unpaid=missed.to)


def hours_left(share: float, work: Work, batch: int, step_s: float, noise: float) -> float:
    """For so much of the work at a batch whose step takes so long; φ in samples."""
    samples_per_s = batch * float(efficiency(noise, work.size, batch)) / step_s
    return share * work.steps * work.size / samples_per_s / _HOUR_S


def _best(
    staying: Course, ways: Sequence[Course], among: Sequence[int], deadline_h: float | None
) -> Verdict | None:
    def in_time(course: Course) -> bool:
        return deadline_h is None or course.hours <= deadline_h

    timely = [number for number in among if in_time(ways[number])]
    stays_well = in_time(staying) and staying.hours <= staying.life_h
    if not stays_well and timely:
        rescue = min(timely, key=lambda number: (ways[number].usd, ways[number].hours))
        return Verdict(rescue, staying.usd - ways[rescue].usd, rescues=True)
    # Where all are late, none that is later yet.
    left = timely if stays_well else [n for n in among if ways[n].hours <= staying.hours]
    best = min(left, key=lambda number: (ways[number].usd, ways[number].hours), default=None)
    if best is None:
        return None
    way = ways[best]
    saves = staying.usd - way.usd
    hours = Decimal(str(MOVE_S / _HOUR_S))
    least = max(Decimal(str(MOVE_SHARE)) * staying.usd, way.usd_per_hour * hours)
    return Verdict(best, saves) if saves > least else None
