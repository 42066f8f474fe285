"""Runs that share one budget at the same time: the lanes of a study."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Self

from mlbroker.broker.errors import RefusedError
from mlbroker.broker.ledger.state import Run, State
from mlbroker.broker.words import exact_usd

# In the fact that opens a run.
LANE = "lane"


class Lane(NamedTuple):
    """Which run of which study this is: of all that have `cap` in common, and its `budget_usd`.

    `study` is a name, and `study_id` tells it from others of that name.
    """

    study: str
    study_id: str
    cap: str
    budget_usd: Decimal

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self | None:
        """From what opens a run; None: it is no lane."""
        told = body.get(LANE)
        if told is None:
            return None
        return cls(**{**told, "budget_usd": Decimal(told["budget_usd"])})

    def body(self) -> dict[str, Any]:
        """As it stands there."""
        return {LANE: {**self._asdict(), "budget_usd": str(self.budget_usd)}}

    def left_usd(self, runs: Iterable[Run]) -> Decimal:
        """What no run under the cap has spent, or may yet come to cost."""
        sharing = (run for run in runs if (lane := Lane.of(run.details)) and lane.cap == self.cap)
        return self.budget_usd - sum(map(_held_usd, sharing), Decimal(0))

    def admit(self, body: Mapping[str, Any], runs: Iterable[Run]) -> None:
        """RefusedError where the worst case of the run that `body` opens is more than is left."""
        left_usd = self.left_usd(runs)
        if Decimal(body["reserved_usd"]) > left_usd:
            raise RefusedError(
                f"a lane of {exact_usd(Decimal(body['reserved_usd']))} USD at most does not fit "
                f"into what is left of the study's budget, {exact_usd(max(left_usd, Decimal(0)))} "
                "USD",
                hint="Run the command again; give --budget for a new one.",
            )


def _held_usd(run: Run) -> Decimal:
    """One that waits in a queue is going to hold it."""
    waits = run.state is State.QUEUED
    return max(run.held_usd, Decimal(run.details["reserved_usd"])) if waits else run.held_usd
