"""The usual early stopping: successive halving that never comes back to a trial it stopped.

Optuna's SuccessiveHalvingPruner, with its rule for few trials: the first of a rung passes.
"""

from mlbroker.policies.tuning.interface import FAILED, State, Step, rungs

GRACE, ETA = 1, 4


class AshaStop:
    """A trial goes on while it is among the best quarter of those that came as far."""

    def decide(self, state: State) -> Step | None:
        """The trial that has just reported, else a new one."""
        levels = rungs(GRACE, ETA, state.most)
        if state.reported is not None:
            trial = state.trials[state.reported]
            at = trial.reached
            if at < state.most and not trial.busy and trial.score > FAILED:
                scores = sorted(
                    (each.best[at - 1] for each in state.trials if each.reached >= at),
                    reverse=True,
                )
                passes = max(len(scores) // ETA, 1)
                if trial.score >= scores[passes - 1]:
                    until = levels[levels.index(at) + 1]
                    return Step(state.reported, until, f"best {passes} of {len(scores)} at {at}")
        if not state.may_start:
            return None
        return Step(None, levels[0], "a new trial")
