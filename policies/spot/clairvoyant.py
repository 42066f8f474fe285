"""The least that anybody could have paid who knew the trace: bounds, not policies.

The safe one is of who is sure of the deadline at each moment, whatever becomes of the spot
machines, although the trace is known: no policy behind the shells is below it.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mlbroker.policies.spot.interface import Terms
from mlbroker.policies.spot.replay import Trace

_PARTS = 8
_HAIR_H = 1e-9
Array = NDArray[np.float64]
Flags = NDArray[np.bool_] | np.bool_


def least_usd(trace: Trace, start: int, terms: Terms, safe: bool = False) -> float:
    """By dynamic programming backwards over ticks and work left, in eighths of a tick.

    Machines are started and left at ticks; what is worked after a restart is rounded up to the
    next eighth. Nobody who hands over within a tick saves more than part of one for it. Moves of
    the checkpoint and work that is lost are free. The `safe` least does without all that
    `shells.held` forbids for want of slack; the rounded work leaves no less slack than there was.
    """
    tick, demand, restart = terms.tick_h, terms.on_demand_usd_per_h, terms.restart_h
    unit = tick / _PARTS
    # Up to the tick that the deadline is in: less would be no bound.
    ticks = min(int(np.ceil(terms.deadline_h / tick - 1e-9)), len(trace.up) - start)
    up = trace.up[start : start + ticks]
    price = trace.price_usd_per_h[start : start + ticks]
    zones = range(up.shape[1])
    work: Array = np.arange(int(terms.work_h / unit + 1e-9) + 1, dtype=np.float64) * unit
    boot = max(1, int(np.ceil(restart / tick - 1e-9)))
    done = int(np.ceil((boot * tick - restart) / unit - 1e-9))
    # What is not paid of the last tick of a start that finishes the work, and of a working tick.
    unused = np.maximum(0.0, boot * tick - restart - work)
    worked, handed = np.minimum(work, tick), np.minimum(work, restart)

    never = np.where(work > 0, np.inf, 0.0)
    # Values at the coming ticks, the next one first.
    idle, on_demand = [never] * boot, [never] * boot
    spot = [[never] * boot for _ in zones]
    for at in reversed(range(ticks)):
        may = _Allowed.at(terms, terms.deadline_h - at * tick - work) if safe else _ALL
        whole = at + boot <= ticks
        lasts = [zone for zone in zones if whole and up[at : at + boot, zone].all()]
        paid = {
            zone: price[at : at + boot, zone].sum() * tick - price[at + boot - 1, zone] * unused
            for zone in lasts
        }
        now = _where(may.wait, idle[0], work)
        if whole:
            start_usd = demand * (boot * tick - unused)
            now = np.minimum(now, start_usd + _less(on_demand[-1], done))
        for zone in lasts:
            started = paid[zone] + _less(spot[zone][-1], done)
            now = np.minimum(now, _where(may.spot, started, work))
        # One works on while the next boots.
        taken = {zone: paid[zone] + _less(spot[zone][-1], boot * _PARTS) for zone in lasts}
        demanded = demand * np.minimum(work, boot * tick) + _less(on_demand[-1], boot * _PARTS)
        now_demand = np.minimum(now, demand * worked + _less(on_demand[0], _PARTS))
        for each in taken.values():
            returned = _where(may.spot_beside, demand * handed + each, work)
            now_demand = np.minimum(now_demand, returned)
        for zone in zones:
            best = now
            if up[at, zone]:
                best = np.minimum(best, price[at, zone] * worked + _less(spot[zone][0], _PARTS))
            if zone in taken:
                others = [
                    _where(may.spot, each, work) for other, each in taken.items() if other != zone
                ]
                for each in (demanded, *others):
                    best = np.minimum(best, price[at, zone] * handed + each)
            spot[zone] = [best, *spot[zone][:-1]]
        idle = [now, *idle[:-1]]
        on_demand = [now_demand, *on_demand[:-1]]
    return float(idle[0][-1])


class _Allowed(NamedTuple):
    """What the shell lets pass, by work left: to wait, to start spot, and beside on demand."""

    wait: Flags
    spot: Flags
    spot_beside: Flags

    @classmethod
    def at(cls, terms: Terms, slack_h: Array) -> "_Allowed":
        restart_h, lost_h = terms.restart_h - _HAIR_H, terms.lost_h
        return cls(
            slack_h - terms.tick_h >= restart_h,
            slack_h >= terms.restart_h + restart_h + lost_h,
            slack_h >= (1 if terms.overlaps else 2) * restart_h + lost_h,
        )


_ALL = _Allowed(np.True_, np.True_, np.True_)


def _where(allowed: Flags, values: Array, work: Array) -> Array:
    """The values where that is allowed, or nothing is left to do."""
    found: Array = np.where(allowed | (work == 0), values, np.inf)
    return found


def _less(values: Array, units: int) -> Array:
    """The values with so many units of work less."""
    moved = np.zeros_like(values)
    moved[units:] = values[: max(0, len(values) - units)]
    return moved
