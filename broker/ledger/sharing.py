"""Runs that share one cap at the same time: the lanes of a study, the stages of a pipeline, the
jobs of another tool's workflow, the leases of a service.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, Self

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger.state import Run, State
from mlbroker.broker.words import exact_usd

# In the fact that opens a run.
SHARE = "share"
STUDY, PIPELINE, WORKFLOW, SERVICE = "study", "pipeline", "workflow", "service"


class Share(NamedTuple):
    """That a run is one of several of a `kind` (a study, say) under one cap.

    All that have `cap` in common stay within its `budget_usd`. `name` is the whole's, and
    `whole_id` tells it from others of that name. Of one `part` no two runs are open at once.
    """

    kind: str
    name: str
    whole_id: str
    cap: str
    budget_usd: Decimal
    part: str | None = None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self | None:
        """From what opens a run; None: it shares no cap."""
        told = body.get(SHARE)
        if told is None:
            return None
        return cls(**{**told, "budget_usd": Decimal(told["budget_usd"])})

    def body(self) -> dict[str, Any]:
        """As it stands there."""
        return {SHARE: {**self._asdict(), "budget_usd": str(self.budget_usd)}}

    def left_usd(self, runs: Iterable[Run]) -> Decimal:
        """What no run under the cap has spent, or may yet come to cost."""
        return self.budget_usd - sum(map(_held_usd, self.sharing(runs)), Decimal(0))

    def sharing(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Those under the cap."""
        return (run for run in runs if (its := Share.of(run.details)) and its.cap == self.cap)

    def admit(self, body: Mapping[str, Any], runs: Iterable[Run]) -> None:
        """Refuse the run that `body` opens, given all `runs` of the whole.

        RefusedError where its worst case is more than is left, InputError where another run of its
        part is open.
        """
        known = list(runs)
        for run in known:
            its = Share.of(run.details)
            if its is not None and its.part == self.part is not None and not run.settled:
                raise InputError(
                    f"{self.part} of the {self.kind} {self.name} is worked on by run {run.run_id}",
                    hint=f"mlbroker logs -f {run.run_id}",
                )
        left_usd = self.left_usd(known)
        if Decimal(body["reserved_usd"]) > left_usd:
            raise RefusedError(
                f"a run of {exact_usd(Decimal(body['reserved_usd']))} USD at most does not fit "
                f"into what is left of the {self.kind}'s budget, "
                f"{exact_usd(max(left_usd, Decimal(0)))} USD",
                hint="Run the command again; give --budget for a new one.",
            )


def share_in(run: Run, kind: str) -> Share | None:
    """The run's share, where it is one of that kind."""
    share = Share.of(run.details)
    return share if share is not None and share.kind == kind else None


def _held_usd(run: Run) -> Decimal:
    """One that waits in a queue is going to hold it."""
    waits = run.state is State.QUEUED
    return max(run.held_usd, Decimal(run.details["reserved_usd"])) if waits else run.held_usd
