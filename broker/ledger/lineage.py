"""Runs that go on from one another: one of them is open at a time, and they share a cap that was
given once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mlbroker.broker.errors import InputError, RefusedError
from mlbroker.broker.ledger.facts import Fact
from mlbroker.broker.ledger.state import Run
from mlbroker.broker.words import exact_usd

# In the fact that opens a run: the run it goes on from, and whether it has what that one left.
RESUMES, SHARES_CAP = "resumes", "shares_cap"


@dataclass(frozen=True, slots=True)
class Lineage:
    """A run, and all that it goes on from or that go on from it.

    `shared_usd` is the cap that was given last on the way to the run, `left_usd` what no run under
    that cap has spent or holds.
    """

    run: Run
    open_run: Run | None
    shared_usd: Decimal
    left_usd: Decimal

    @classmethod
    def of(
        cls, run_id: str, openings: Sequence[Fact], run_of: Callable[[str], Run | None]
    ) -> "Lineage":
        """From the facts that open runs, and a way to read one run."""
        before = {fact.run_id: fact.body[RESUMES] for fact in openings if fact.body.get(RESUMES)}
        sharing = {fact.run_id for fact in openings if fact.body.get(SHARES_CAP)}
        cap_before = {later: earlier for later, earlier in before.items() if later in sharing}
        ids = [fact.run_id for fact in openings]
        first, payer = _first(run_id, before), _first(run_id, cap_before)
        found = {i: run_of(i) for i in ids if _first(i, before) == first}
        runs = {i: run for i, run in found.items() if run is not None}
        if run_id not in runs:
            raise InputError(f"there is no run {run_id!r}", hint="See them all: mlbroker ps --all")
        shared_usd = runs[payer].cap_usd
        held = sum((runs[i].held_usd for i in runs if _first(i, cap_before) == payer), Decimal(0))
        open_run = next((run for run in runs.values() if not run.settled), None)
        return cls(runs[run_id], open_run, shared_usd, shared_usd - held)

    def admit(self, body: Mapping[str, Any]) -> None:
        """Refuse a next run, opened with `body`, that would be a twin or exceed what is left."""
        self.refuse_twin()
        if body.get(SHARES_CAP) and Decimal(body["cap_usd"]) > self.rest_usd():
            raise RefusedError(
                f"another run that goes on from {self.run.run_id} took of what was left, which is "
                f"{exact_usd(self.left_usd)} USD now",
                hint="Run the command again.",
            )

    def refuse_twin(self) -> None:
        """Two runs would work on one checkpoint, and on what one of them left."""
        if self.open_run is None:
            return
        who, earlier = self.open_run.run_id, self.run.run_id
        first = (
            f"run {who}" if who == earlier else f"run {who}, which is of one line with {earlier},"
        )
        raise InputError(
            f"{first} is not settled yet", hint=f"mlbroker stop {who}, or mlbroker reconcile"
        )

    def rest_usd(self) -> Decimal:
        """The cap of a next run that gets none of its own; refused where nothing is left."""
        if self.left_usd <= 0:
            raise RefusedError(
                f"run {self.run.run_id} spent all of its {exact_usd(self.shared_usd)} USD, or runs "
                f"that went on from it did",
                hint="Give --budget for the rest of the work.",
            )
        return self.left_usd


def _first(run_id: str, before: Mapping[str, str]) -> str:
    while run_id in before:
        run_id = before[run_id]
    return run_id
