"""Runs that others carry, as a client in the foreground looks after them."""

from collections.abc import Iterable
from pathlib import Path

from mlbroker.broker.ledger import Run
from mlbroker.broker.runs.background import carry_in_background
from mlbroker.broker.runs.folder import RunFolder
from mlbroker.broker.runs.launch import secrets_at_hand
from mlbroker.broker.runs.order import Order

# How often it looks, and after how many looks a run whose carrier died is given another one.
LOOK_S = 0.3
PATIENCE_LOOKS = 30


class Attendants:
    """Gives runs that nobody carries somebody who does."""

    def __init__(self, state: Path) -> None:
        self._home = state
        self._alone: dict[str, int] = {}

    def look(self, runs: Iterable[Run]) -> None:
        """One look; a run's new carrier is given some looks to begin."""
        for run in runs:
            alone = not run.settled and not RunFolder.of(self._home, run.run_id).attended()
            self._alone[run.run_id] = self._alone.get(run.run_id, 0) + 1 if alone else 0
            if self._alone[run.run_id] == PATIENCE_LOOKS:
                self._carry_on(run)

    def take_up(self, runs: Iterable[Run]) -> None:
        """At once, for a client that begins after another died."""
        for run in runs:
            if not RunFolder.of(self._home, run.run_id).attended():
                self._carry_on(run)

    def _carry_on(self, run: Run) -> None:
        order = Order.load(RunFolder.of(self._home, run.run_id).path, run.details["order_sha256"])
        carry_in_background(self._home, run.run_id, secrets_at_hand(order))
        self._alone[run.run_id] = 0
