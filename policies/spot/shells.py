"""What no policy can pass: the deadline, and the budget.

Both hold from any state that they led to, whatever becomes of the spot machines: an on-demand
machine started now, or going on, finishes in time and within the budget.
"""

from mlbroker.policies.spot.interface import ON_DEMAND, WAIT, View

_HAIR_H = 1e-9
_HAIR_USD = 1e-9


def held(wish: int, view: View) -> int:
    """The wish where it is safe; else what is, nearest to it."""
    if wish == view.on != WAIT:
        return wish
    if wish == ON_DEMAND and _may_go_on_demand(view):
        return ON_DEMAND
    if wish >= 0 and view.zones[wish].up and _may_spot(wish, view):
        return wish
    if wish == WAIT and _may_wait(view):
        return WAIT
    # A machine that works, or boots, is never left for want of slack: it keeps the slack.
    if view.on != WAIT:
        return view.on
    return WAIT if _may_wait(view) else ON_DEMAND


def last_call(view: View, boots_for_h: float) -> bool:
    """Whether a spot machine that should work by now has to make way for one on demand.

    A boot that takes longer than a restart may never end: it takes the slack along.
    """
    terms = view.terms
    if boots_for_h <= terms.restart_h:
        return False
    return view.slack_h - terms.tick_h < terms.restart_h


def _may_wait(view: View) -> bool:
    terms = view.terms
    return view.slack_h - terms.tick_h >= terms.restart_h - _HAIR_H and _affords(view, 0.0)


def _may_go_on_demand(view: View) -> bool:
    """From spot it boots beside what works; from nowhere it is what all else falls back on."""
    if view.on == WAIT:
        return True
    if not view.terms.overlaps and view.slack_h < view.terms.restart_h - _HAIR_H:
        return False
    return _affords(view, _paid_beside(view))


def _may_spot(zone: int, view: View) -> bool:
    terms = view.terms
    # From on demand the slack stays while spot boots beside it.
    restarts = 1 if view.on == ON_DEMAND and terms.overlaps else 2
    if view.slack_h < restarts * terms.restart_h + terms.lost_h - _HAIR_H:
        return False
    moved = terms.egress_usd if view.region not in (None, view.zones[zone].region) else 0.0
    trial_h = terms.restart_h + terms.lost_h + terms.tick_h
    once_usd = view.zones[zone].once_usd + moved
    return _affords(view, _paid_beside(view) + terms.finish_usd_per_h * trial_h + once_usd)


def _paid_beside(view: View) -> float:
    """What the machine costs that goes on while another boots. Nobody bids above on demand."""
    if view.on == WAIT or not view.terms.overlaps:
        return 0.0
    return view.terms.finish_usd_per_h * view.terms.restart_h


def _affords(view: View, more_usd: float) -> bool:
    """With so much spent in vain, on demand can still finish from the last checkpoint."""
    terms = view.terms
    if terms.budget_usd is None:
        return True
    finish_usd = terms.finish_usd_per_h * (view.saved_left_h + terms.restart_h) + terms.once_usd
    all_usd = view.spent_usd + finish_usd + terms.egress_usd + more_usd
    return all_usd <= terms.budget_usd + _HAIR_USD
