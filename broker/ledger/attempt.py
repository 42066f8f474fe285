"""One try of a run at a machine, as its facts tell of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at running the job on one machine. Times are None until observed.

    `predicted` is what was believed of its command's time at its launch, `figures` what its guest
    measured of it (see `guest_report.Figures`); where its time went and what it drew is in
    `seconds` and `energy` (see `footprint`). `at_most`: nobody tells when its machine ended, and
    the charge is the most that it can have cost. `pending`: its place has not started it yet, and
    says why; until then it costs nothing, and its life has not begun. `home_bytes` were brought
    home, for `home_usd` beside the bill, of which `allowance_usd` are kept for it while the machine
    is there; `stays` is what is left in the bucket, and where, as nothing pays for more.
    `batch_size` (samples, over all machines) and `lr_scale` are what the job was told where one was
    chosen for this attempt.
    """

    number: int
    token: str
    cloud: str
    region: str
    zone: str | None
    instance_type: str
    market: str
    nodes: int
    price_per_hour_usd: Decimal
    intended_at: datetime
    kill_at: datetime
    worst_usd: Decimal
    account: str = ""
    machine_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    why: str | None = None
    exit_code: int | None = None
    detail: str | None = None
    rank: int | None = None
    made_nothing: bool = False
    missing: tuple[str, ...] = ()
    charged_usd: Decimal = Decimal(0)
    at_most: bool = False
    disarmed: bool = False
    predicted: Mapping[str, Any] | None = None
    figures: Mapping[str, Any] | None = None
    seconds: Mapping[str, float | None] | None = None
    energy: Mapping[str, Any] | None = None
    pending: str | None = None
    allowance_usd: Decimal = Decimal(0)
    home_bytes: int = 0
    home_usd: Decimal = Decimal(0)
    stays: Mapping[str, str] = field(default_factory=dict)
    batch_size: int | None = None
    lr_scale: float | None = None

    def stood_s(self, until: datetime) -> float:
        """For how long it may have cost something by then."""
        began = until if self.pending is not None else self.began_at
        return max(0.0, (until - began).total_seconds())

    def begun(self, at: datetime, kill_at: datetime | None = None) -> "Attempt":
        """As it is once its place started it: its life is as long as it was to be, or ends
        before, at `kill_at`.
        """
        if self.pending is None:
            return self
        due = at + (self.kill_at - self.intended_at)
        return replace(self, started_at=at, kill_at=min(due, kill_at or due), pending=None)

    @property
    def began_at(self) -> datetime:
        """From when on it may cost; the intent's time where the vendor told none."""
        return self.started_at or self.intended_at
