"""Rungs with pause and resume: the best third of a rung goes on, whenever that is known.

Asynchronous successive halving (Li and others, MLSys 2020), promotion type: nothing is stopped
for good, a paused trial is taken up again when enough worse ones have come as far.
"""

from itertools import pairwise

from mlbroker.policies.tuning.interface import FAILED, State, Step, rungs

ETA = 3
GRACE = 1


class ShaPause:
    """One bracket, with the shortest grace."""

    def decide(self, state: State) -> Step | None:
        """The best that waits at the highest rung it may leave; else a new trial."""
        return resumed(state) or started(state, GRACE) or finished(state)


def resumed(state: State) -> Step | None:
    """The best trial that waits at the highest rung and belongs to its best third.

    Trials with another grace are ranked apart, as they came to a rung through other sieves.
    """
    graces = sorted({trial.grace for trial in state.trials})
    ladder = [
        (level, grace, until)
        for grace in graces
        for level, until in pairwise(rungs(grace, ETA, state.most))
    ]
    for level, grace, until in sorted(ladder, key=lambda each: (-each[0], each[1])):
        found = _promotable(state, level, grace)
        if found is not None:
            number, passes, came = found
            return Step(number, until, f"among the best {passes} of {came} after {level}")
    return None


def started(state: State, grace: int) -> Step | None:
    """One that was interrupted before its first rung; else a new trial, if there may be one."""
    for number, trial in enumerate(state.trials):
        if not trial.reached and not trial.busy:
            return Step(number, trial.grace, "it was interrupted before it told anything")
    if not state.may_start:
        return None
    return Step(None, min(grace, state.most), "nothing waits that is good enough")


def finished(state: State) -> Step | None:
    """Nothing new is left: the furthest, and of these the best, is finished past any rank."""
    waits = [
        (trial.reached, trial.score, -number)
        for number, trial in enumerate(state.trials)
        if not trial.busy and 0 < trial.reached < state.most and trial.score > FAILED
    ]
    if not waits:
        return None
    return Step(-max(waits)[2], state.most, "nothing new is left to try: the best is finished")


def _promotable(state: State, level: int, grace: int) -> tuple[int, int, int] | None:
    """The trial's number, how many pass, and of how many; None where nobody waits who passes."""
    trials = state.trials
    waits = [n for n, trial in enumerate(trials) if trial.reached == level and not trial.busy]
    if not any(trials[n].grace == grace for n in waits):
        return None
    came = [n for n, trial in enumerate(trials) if trial.grace == grace and trial.reached >= level]
    passes = _passes(len(came), state.warm)
    ranked = sorted(came, key=lambda n: (-trials[n].best[level - 1], n))
    waiting = set(waits)
    for number in ranked[:passes]:
        if number in waiting and trials[number].score > FAILED:
            return number, passes, len(came)
    return None


def _passes(came: int, warm: bool) -> int:
    """How many of a rung go on.

    What the past recommends need not wait for two worse ones: the leader goes on at once.
    """
    return max(came // ETA, 1 if warm else 0)
