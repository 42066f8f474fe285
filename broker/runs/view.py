"""What a driver tells whoever watches: phases, output, progress, warnings."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mlbroker.broker.ledger import Run

_WISHES = {"stop": "overrun", "move": "move"}


@dataclass(frozen=True, slots=True)
class Progress:
    """How a running attempt goes. Unknown is None; money is what it costs, not what is reserved.

    `finish_at` and `total_usd` are forecasts from the steps so far. `disagreement` tells why there
    is none where the steps that the job file states cannot be those that are counted.
    """

    phase: str
    elapsed_s: float
    spent_usd: Decimal
    cap_usd: Decimal
    kill_at: datetime
    step: int | None = None
    steps: int | None = None
    finish_at: datetime | None = None
    total_usd: Decimal | None = None
    deadline_at: datetime | None = None
    cpu: float | None = None
    gpu: float | None = None
    idle_s: float | None = None
    idle_usd: Decimal | None = None
    energy_kwh: float | None = None
    checkpoint_fault: str | None = None
    disagreement: str | None = None


class View:
    """Someone who watches a run, and may change it by raising alone; by itself, nobody."""

    def moved(self, run: Run) -> None:
        """A step was taken."""

    def output(self, data: bytes) -> None:
        """The job wrote something."""

    def progress(self, run: Run, progress: Progress) -> None:
        """The guest reported."""

    def note(self, text: str) -> None:
        """Something is worth knowing."""

    def warn(self, text: str) -> None:
        """Something needs attention."""

    def overrun(self, run: Run, wish: str | None) -> str | None:
        """The forecast breaks cap or deadline; with nobody to ask, only a wish is obeyed."""
        return _WISHES.get(wish or "")
