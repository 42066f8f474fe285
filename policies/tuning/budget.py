"""What a study may still begin with the time that its money buys."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from mlbroker.policies.tuning.interface import FAILED, State, Step, Trial


class Pace(NamedTuple):
    """Seconds that a step takes each trial, None where it was not measured, and that are left.

    `anew`: there are no checkpoints, so that a trial that goes on pays for its first steps again.
    """

    step_s: Sequence[float | None]
    left_s: float
    anew: bool = False

    def of(self, trial: int | None) -> float | None:
        """A trial's own, else the mean of those measured; None: nothing is known yet."""
        own = None if trial is None else self.step_s[trial]
        known = [span for span in self.step_s if span is not None]
        if own is not None or not known:
            return own
        return sum(known) / len(known)


def within(state: State, step: Step | None, pace: Pace) -> Step | None:
    """The step, if the best trial can still be finished behind it; else that is finished now.

    None: neither can be paid for, or nothing is wanted.
    """
    best = best_trial(state.trials)
    if step is not None:
        behind = None if step.trial == best and step.until == state.most else best
        needed_s = _span_s(state, step.trial, step.until, pace) + _finish_s(state, behind, pace)
        if needed_s <= pace.left_s:
            return step
    if best is None or state.trials[best].reached >= state.most or state.trials[best].busy:
        return None
    if _finish_s(state, best, pace) > pace.left_s:
        return None
    return Step(best, state.most, "the best is finished while it can be paid for")


class Whole(NamedTuple):
    """Seconds that a whole trial takes, and the standard error of their logarithm."""

    seconds: float
    sigma_log: float


# Of a mean of few, by which trials with other settings may take longer or shorter.
USUAL_SPREAD_LOG = 0.2


def whole_trial(stretches: Sequence[tuple[int, float]], most: int) -> Whole | None:
    """From (steps, seconds) of stretches of trials on one machine; None where there are none.

    Each begins once, so that seconds = a + b·steps, by least squares; a = 0 where they are all as
    long, or say nothing of it.
    """
    import statistics  # brings fractions and random: of use to studies on rented machines alone

    steps, seconds = [float(each) for each, _ in stretches], [took for _, took in stretches]
    if not stretches or sum(seconds) <= 0:
        return None
    begin_s, step_s = 0.0, sum(seconds) / sum(steps)
    if len(set(steps)) > 1:
        line = statistics.linear_regression(steps, seconds)
        if line.slope > 0 and line.intercept > 0:
            begin_s, step_s = line.intercept, line.slope
    expected = [begin_s + step_s * each for each in steps]
    off = [
        math.log(max(took, 1e-3) / max(e, 1e-3)) for took, e in zip(seconds, expected, strict=True)
    ]
    spread = max(USUAL_SPREAD_LOG, statistics.pstdev(off))
    return Whole(begin_s + step_s * most, spread / math.sqrt(len(off)))


def best_trial(trials: Sequence[Trial]) -> int | None:
    """The one with the best score so far, the earlier of equals; None: none has a number."""
    scored = [(-trial.score, number) for number, trial in enumerate(trials)]
    scored = [each for each in scored if each[0] < -FAILED]
    return min(scored)[1] if scored else None


def _finish_s(state: State, trial: int | None, pace: Pace) -> float:
    return 0.0 if trial is None else _span_s(state, trial, state.most, pace)


def _span_s(state: State, trial: int | None, until: int, pace: Pace) -> float:
    reached = 0 if trial is None or pace.anew else state.trials[trial].reached
    return (until - reached) * (pace.of(trial) or 0.0)
