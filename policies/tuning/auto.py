"""Pause and resume in two brackets, with a grace of one step and of three.

A grace of one is the cheapest where the first step tells good from bad, and never finds the best
where it misleads. The trials with the long grace tell which it is: of those that are the best
third after three steps, how many would have passed after one? By chance it is a third. The two
brackets take turns until that is known of some trials; from then on the short grace is taken
where the share is nearer to all than to chance, and the long one else. Where the short one is,
every tenth trial still gets the long one, a fifth of the work: what the first step says may change
with the points that are tried.
"""

from collections.abc import Sequence

from mlbroker.policies.tuning.interface import State, Step
from mlbroker.policies.tuning.sha_pause import ETA, finished, resumed, started

SHORT, LONG = 1, 3
# So many of the long grace are looked at before anything is made of them.
LEAST_SEEN = 9
HEDGE_EVERY = 10
_TRUSTED = (1 + 1 / ETA) / 2


class Auto:
    """The two in turn, and then the one that pays."""

    def decide(self, state: State) -> Step | None:
        """The best that waits at the highest rung it may leave; else a new trial."""
        return resumed(state) or started(state, _grace(state)) or finished(state)


def _grace(state: State) -> int:
    turn = len(state.trials)
    seen = [trial.best for trial in state.trials if trial.grace == LONG and trial.reached >= LONG]
    if len(seen) < LEAST_SEEN:
        return LONG if turn % 2 else SHORT
    third = len(seen) // ETA
    early, late = (_best_at(step, seen)[:third] for step in (SHORT, LONG))
    # With one success and one failure beforehand: three of three are no certainty.
    share = (len({*early} & {*late}) + 1) / (third + 2)
    if share < _TRUSTED:
        return LONG
    return LONG if turn % HEDGE_EVERY == 0 else SHORT


def _best_at(step: int, seen: Sequence[Sequence[float]]) -> list[int]:
    """Places in `seen`, by the score after so many steps."""
    return sorted(range(len(seen)), key=lambda place: -seen[place][step - 1])
