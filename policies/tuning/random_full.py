"""Every trial from its beginning to its end: plain random search, where the points are random."""

from mlbroker.policies.tuning.interface import State, Step


class RandomFull:
    """Looks at nothing."""

    def decide(self, state: State) -> Step | None:
        """A new trial, all of it."""
        return Step(None, state.most, "every trial runs whole") if state.may_start else None
